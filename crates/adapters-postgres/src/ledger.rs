use std::fmt;

use adapters_diesel::{
    DeliveryRow, EventRow, LedgerOptions, OrderRow, ParkedRow, PaymentRow, StorageError, build_pool, missing_record,
    open_books, pool_connections, retry_races, up_to_date,
};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{QueryFragment, QueryId};
use diesel::r2d2::{ConnectionManager, Pool, PooledConnection};
use domain::{Books, Changes, Delivery, DeliveryId, ExternalPayment, Order, OrderId, PaymentId, PaymentMethod};
use ports::{
    Connections, DeliveryFilter, Keys, Ledger, LedgerError, LedgerFigures, OrderHistory, PaymentHistory,
    RecordedPayment,
};

use crate::connecting::{MIGRATIONS, Session, with_timeouts};
use crate::queries;
use crate::statements::{
    InsertDeliveries, InsertEvents, LockPaymentIds, UpdateInner, UpdateInvoice, UpdateOrders, UpdatePayments,
    UpdatePaypal, UpdateWebpay,
};

/// The ledger in a PostgreSQL database.
pub struct PostgresLedger {
    pool: Pool<ConnectionManager<PgConnection>>,
}

impl PostgresLedger {
    /// A ledger in the database at this URL. It connects when it is first asked.
    #[must_use]
    pub fn open(database_url: &str, options: LedgerOptions) -> Self {
        let manager = ConnectionManager::new(with_timeouts(database_url, options.patience));
        Self { pool: build_pool(manager, options, Session { patience: options.patience }) }
    }

    fn connection(&self) -> Result<PooledConnection<ConnectionManager<PgConnection>>, LedgerError> {
        self.pool.get().map_err(|error| LedgerError::Unavailable(error.into()))
    }

    /// Reads in one snapshot.
    fn read<T>(&self, read: impl FnMut(&mut PgConnection) -> Result<T, StorageError>) -> Result<T, LedgerError> {
        let mut connection = self.connection()?;
        Ok(connection.build_transaction().repeatable_read().read_only().run(read)?)
    }
}

impl fmt::Debug for PostgresLedger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PostgresLedger").field("connections", &self.pool.state()).finish()
    }
}

impl Ledger for PostgresLedger {
    fn amend_books(&self, keys: &Keys, act: &mut dyn FnMut(&mut Books)) -> Result<(), LedgerError> {
        let mut connection = self.connection()?;
        // A registration knows that its payment may be new. Elsewhere that is rare, and found out by looking.
        let mut lock_ids = keys.waiting;
        loop {
            // Each statement must see what was committed while it waited for its locks.
            let transaction = || {
                connection.build_transaction().read_committed().run(|connection| amend(connection, keys, lock_ids, act))
            };
            match retry_races(transaction) {
                Err(StorageError::Unregistered) => lock_ids = true,
                Err(error) if error.is_particular() => return Err(LedgerError::Hindered(error.into())),
                result => return Ok(result?),
            }
        }
    }

    fn payment(&self, id: &PaymentId) -> Result<Option<PaymentHistory>, LedgerError> {
        self.read(|connection| queries::payment_history(connection, id))
    }

    fn payment_and_order(&self, id: &PaymentId) -> Result<Option<(RecordedPayment, Order)>, LedgerError> {
        self.read(|connection| queries::payment_and_order(connection, id))
    }

    fn order(&self, id: &OrderId) -> Result<Option<OrderHistory>, LedgerError> {
        self.read(|connection| queries::order_history(connection, id))
    }

    fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, LedgerError> {
        self.read(|connection| queries::delivery(connection, id))
    }

    fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<Delivery>, LedgerError> {
        self.read(|connection| queries::filtered_deliveries(connection, filter))
    }

    fn check(&self) -> Result<(), LedgerError> {
        up_to_date(&mut self.connection()?, MIGRATIONS)
    }

    fn figures(&self) -> Result<LedgerFigures, LedgerError> {
        self.read(queries::figures)
    }

    fn connections(&self) -> Connections {
        pool_connections(&self.pool)
    }
}

fn amend(
    connection: &mut PgConnection,
    keys: &Keys,
    lock_ids: bool,
    act: &mut dyn FnMut(&mut Books),
) -> Result<(), StorageError> {
    if lock_ids {
        keys.payments.iter().collect::<LockPaymentIds>().execute(connection)?;
    }
    let payments = queries::lock_payments(connection, &keys.payments)?;
    if payments.len() < keys.payments.len() && !lock_ids {
        return Err(StorageError::Unregistered);
    }
    let orders = queries::lock_orders(connection, &keys.orders)?;
    let partial_refunds = queries::known_partial_refunds(connection, &keys.partial_refunds)?;
    let waiting = if keys.waiting { queries::waiting_deliveries(connection, &keys.payments)? } else { Vec::new() };
    let mut books = open_books(keys, payments, orders, partial_refunds, waiting)?;
    act(&mut books);
    store(connection, books.close())
}

fn store(connection: &mut PgConnection, changes: Changes) -> Result<(), StorageError> {
    let Changes {
        added_orders,
        added_payments,
        changed_orders,
        changed_payments,
        partial_refunds,
        deliveries,
        unparked,
        events,
    } = changes;
    queries::add(connection, added_orders, added_payments)?;
    if !changed_payments.is_empty() {
        store_payments(connection, changed_payments)?;
    }
    if !changed_orders.is_empty() {
        changed_orders.into_iter().map(OrderRow::from).collect::<UpdateOrders>().execute(connection)?;
    }
    let parked = deliveries.iter().filter_map(ParkedRow::of).collect();
    if !deliveries.is_empty() {
        deliveries.into_iter().map(DeliveryRow::from).collect::<InsertDeliveries>().execute(connection)?;
    }
    queries::store_rarities(connection, parked, unparked, partial_refunds)?;
    if !events.is_empty() {
        events.into_iter().map(EventRow::from).collect::<InsertEvents>().execute(connection)?;
    }
    Ok(())
}

/// Stores where payments now stand, and lets their methods' records follow.
fn store_payments(connection: &mut PgConnection, payments: Vec<ExternalPayment>) -> Result<(), StorageError> {
    follow::<UpdatePaypal>(connection, &payments, PaymentMethod::Paypal)?;
    follow::<UpdateWebpay>(connection, &payments, PaymentMethod::Webpay)?;
    follow::<UpdateInner>(connection, &payments, PaymentMethod::Inner)?;
    follow::<UpdateInvoice>(connection, &payments, PaymentMethod::Invoice)?;
    payments.into_iter().map(PaymentRow::from).collect::<UpdatePayments>().execute(connection)?;
    Ok(())
}

/// Lets the records of this method follow their payments; each must be there.
fn follow<Update>(
    connection: &mut PgConnection,
    payments: &[ExternalPayment],
    method: PaymentMethod,
) -> Result<(), StorageError>
where
    Update: FromIterator<PaymentRow> + QueryFragment<Pg> + QueryId + RunQueryDsl<PgConnection>,
{
    let of_method = || payments.iter().filter(|payment| payment.method == method);
    let rows: Vec<PaymentRow> = of_method().cloned().map(PaymentRow::from).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let expected = rows.len();
    let followed = rows.into_iter().collect::<Update>().execute(connection)?;
    if followed == expected { Ok(()) } else { Err(missing_record(of_method().map(|payment| &payment.id))) }
}
