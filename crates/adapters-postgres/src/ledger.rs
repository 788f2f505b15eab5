use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use adapters_diesel::{
    LedgerOptions, ParkedRow, StorageError, SurrogateKeys, build_pool, missing_record, open_books, pool_connections,
    retry_races, up_to_date,
};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool, PooledConnection};
use diesel::result::Error as DieselError;
use domain::{Books, Changes, Delivery, DeliveryId, Order, OrderId, PaymentId};
use ports::{
    Connections, DeliveryFilter, Keys, Ledger, LedgerError, LedgerFigures, LockWait, OrderHistory, PaymentHistory,
    RecordedPayment,
};

use crate::connecting::{MIGRATIONS, Session, with_timeouts};
use crate::queries;
use crate::statements::{AddPartialRefunds, LockPaymentIds, Park, StoreChanges};

/// The wait for a lock of a caller that will try again: longer than most commits take.
const MINIMAL_LOCK_WAIT: Duration = Duration::from_millis(10);

/// The ledger in a PostgreSQL database.
pub struct PostgresLedger {
    pool: Pool<ConnectionManager<PgConnection>>,
    patience: Duration,
}

impl PostgresLedger {
    /// A ledger in the database at this URL. It connects when it is first asked.
    #[must_use]
    pub fn open(database_url: &str, options: LedgerOptions) -> Self {
        let manager = ConnectionManager::new(with_timeouts(database_url, options.patience));
        Self { pool: build_pool(manager, options, Session { patience: options.patience }), patience: options.patience }
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
        let connection = &mut *self.connection()?;
        let lock_timeout = match keys.lock_wait {
            LockWait::Long => Some(self.patience / 4),
            // The session's own, for the way of most callbacks has no statement to spare.
            LockWait::Short => None,
            LockWait::Minimal => Some(MINIMAL_LOCK_WAIT),
        };
        // Only what is there can be looked at without a lock: a new payment or a whole order is locked first.
        let registered = !keys.waiting && !keys.payments.is_empty();
        let unlocked = registered.then(|| amend_unlocked(connection, keys, lock_timeout, act));
        let amended = match unlocked {
            Some(result) if !result.as_ref().is_err_and(StorageError::needs_locks) => result,
            _ => retry_races(|| amend_locked(connection, keys, lock_timeout, act)),
        };
        match amended {
            Err(error) if error.is_particular() => Err(match held_payments(connection, keys) {
                Ok(payments) if !payments.is_empty() => LedgerError::Held { payments },
                _ => LedgerError::Hindered(error.into()),
            }),
            result => Ok(result?),
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
        self.read(|connection| {
            // Some outcomes are frequent and others rare: that decides along which index to walk.
            connection.batch_execute("SET LOCAL plan_cache_mode = force_custom_plan")?;
            queries::filtered_deliveries(connection, filter)
        })
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

/// Amends the books of payments that are registered, in one snapshot. What others change meanwhile is refused as it
/// is written, so nothing may rest on what is not written; and what changes nothing (a duplicate, say) never waits.
fn amend_unlocked(
    connection: &mut PgConnection,
    keys: &Keys,
    lock_timeout: Option<Duration>,
    act: &mut dyn FnMut(&mut Books),
) -> Result<(), StorageError> {
    connection.build_transaction().repeatable_read().run(|connection| {
        if let Some(timeout) = lock_timeout {
            set_lock_timeout(connection, timeout)?;
        }
        let payments = queries::payments_with_orders(connection, &keys.payments)?;
        if payments.len() < keys.payments.len() {
            return Err(StorageError::Unregistered);
        }
        let partial_refunds = queries::known_partial_refunds(connection, &keys.partial_refunds)?;
        let (mut books, surrogate_keys) = open_books(payments, Vec::new(), partial_refunds, Vec::new())?;
        act(&mut books);
        let changes = books.close();
        if changes.rests_on_unchanged {
            return Err(StorageError::RestsOnUnlocked);
        }
        store(connection, changes, surrogate_keys)
    })
}

/// Amends the books of any payments and orders, there or not, and locks them first: of the ids, the payments and the
/// orders each in one order, so that nobody waits in a circle. Each statement sees what was committed while it waited.
fn amend_locked(
    connection: &mut PgConnection,
    keys: &Keys,
    lock_timeout: Option<Duration>,
    act: &mut dyn FnMut(&mut Books),
) -> Result<(), StorageError> {
    connection.build_transaction().read_committed().run(|connection| {
        if let Some(timeout) = lock_timeout {
            set_lock_timeout(connection, timeout)?;
        }
        keys.payments.iter().collect::<LockPaymentIds>().execute(connection)?;
        let of_payments = queries::lock_payments(connection, &keys.payments)?;
        let orders = queries::lock_orders(connection, &of_payments, &keys.orders)?;
        let payments = queries::payments_with_orders(connection, &keys.payments)?;
        let partial_refunds = queries::known_partial_refunds(connection, &keys.partial_refunds)?;
        let waiting = if keys.waiting { queries::waiting_deliveries(connection, &keys.payments)? } else { Vec::new() };
        let (mut books, surrogate_keys) = open_books(payments, orders, partial_refunds, waiting)?;
        act(&mut books);
        store(connection, books.close(), surrogate_keys)
    })
}

/// Sets how long the statements of this transaction wait for a lock.
fn set_lock_timeout(connection: &mut PgConnection, timeout: Duration) -> QueryResult<()> {
    connection.batch_execute(&format!("SET LOCAL lock_timeout = {}", timeout.as_millis().max(1)))
}

/// Those of the payments of `keys` that another session holds now. Keeps no lock.
fn held_payments(connection: &mut PgConnection, keys: &Keys) -> Result<BTreeSet<PaymentId>, StorageError> {
    let mut held = BTreeSet::new();
    let looked = connection.build_transaction().read_committed().run(|connection| -> Result<(), StorageError> {
        // A locked table is waited for all the same.
        set_lock_timeout(connection, MINIMAL_LOCK_WAIT)?;
        held = queries::held_payments(connection, &keys.payments)?;
        Err(DieselError::RollbackTransaction.into())
    });
    match looked {
        Err(StorageError::Database(DieselError::RollbackTransaction)) => Ok(held),
        looked => looked.map(|()| held),
    }
}

/// How many rows of a table one statement adds. A registration may apply more than can be added in the time that a
/// statement has.
const ROWS_MAX: usize = 10_000;

fn store(connection: &mut PgConnection, changes: Changes, mut keys: SurrogateKeys) -> Result<(), StorageError> {
    let Changes {
        added_orders,
        added_payments,
        changed_orders,
        changed_payments,
        partial_refunds,
        deliveries,
        unparked,
        events,
        rests_on_unchanged: _,
    } = changes;
    queries::add(connection, added_orders, added_payments, &mut keys)?;
    let parked: Vec<ParkedRow> = deliveries.iter().filter_map(ParkedRow::of).collect();
    let (mut deliveries, mut events) = (deliveries.into_iter(), events.into_iter());
    let (entries, told) = (deliveries.by_ref().take(ROWS_MAX), events.by_ref().take(ROWS_MAX));
    let without_record: Vec<String> =
        StoreChanges::new(&changed_payments, &changed_orders, entries, told, &keys)?.load(connection)?;
    if !without_record.is_empty() {
        return Err(missing_record(&without_record));
    }
    while deliveries.len() > 0 || events.len() > 0 {
        let (entries, told) = (deliveries.by_ref().take(ROWS_MAX), events.by_ref().take(ROWS_MAX));
        StoreChanges::new(&[], &[], entries, told, &keys)?.execute(connection)?;
    }
    // All of these are rare.
    if !parked.is_empty() {
        parked.into_iter().collect::<Park>().execute(connection)?;
    }
    if !unparked.is_empty() {
        queries::unpark(connection, &unparked)?;
    }
    for refunds in partial_refunds.chunks(ROWS_MAX) {
        refunds.iter().cloned().collect::<AddPartialRefunds>().execute(connection)?;
    }
    Ok(())
}
