use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use adapters_diesel::{
    LedgerOptions, ParkedRow, StorageError, SurrogateKeys, build_pool, compare_schema, missing_record, open_books,
    pool_connections, retry_races,
};
use diesel::connection::SimpleConnection as _;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use domain::{Books, Changes, Delivery, DeliveryId, Order, OrderId, PaymentId};
use ports::{
    Connections, DeliveryFilter, Keys, Ledger, LedgerError, LedgerFigures, LockWait, OrderHistory, PaymentHistory,
    RecordedPayment,
};
use r2d2::{NopConnectionCustomizer, Pool, PooledConnection};

use crate::address::{Address, Purpose};
use crate::connecting::{MIGRATIONS, applied_migrations};
use crate::queries;
use crate::sessions::Sessions;
use crate::statements::{AddPartialRefunds, LockPaymentIds, Park, StoreChanges};

/// The wait for a lock of a caller that will try again: longer than most commits take.
const MINIMAL_LOCK_WAIT: Duration = Duration::from_millis(10);

/// The ledger in a PostgreSQL database.
pub struct PostgresLedger {
    pool: Pool<Sessions>,
    patience: Duration,
}

impl PostgresLedger {
    /// A ledger in the database at this URL. It connects when it is first asked.
    #[must_use]
    pub fn open(database_url: &str, options: LedgerOptions) -> Self {
        Self::open_for(Purpose::Writing, database_url, options)
    }

    /// The same for reading alone, which a hot standby allows, and a role that may only read.
    #[must_use]
    pub fn open_for_reading(database_url: &str, options: LedgerOptions) -> Self {
        Self::open_for(Purpose::Reading, database_url, options)
    }

    fn open_for(purpose: Purpose, database_url: &str, options: LedgerOptions) -> Self {
        let patience = options.patience;
        let sessions = Sessions::new(Address::new(database_url, purpose, patience), patience);
        Self { pool: build_pool(sessions, options, NopConnectionCustomizer), patience }
    }

    fn session(&self) -> Result<PooledConnection<Sessions>, LedgerError> {
        self.pool.get().map_err(|error| LedgerError::Unavailable(error.into()))
    }

    /// How long settling may take: there is time then to connect to another server before the deadline.
    fn settling_max(&self) -> Duration {
        self.patience * 2 / 3
    }

    /// Reads in one snapshot.
    fn read<T>(&self, read: impl FnMut(&mut PgConnection) -> Result<T, StorageError>) -> Result<T, LedgerError> {
        let read =
            |connection: &mut PgConnection| connection.build_transaction().repeatable_read().read_only().run(read);
        Ok(self.session()?.run(self.patience, read)?)
    }
}

impl fmt::Debug for PostgresLedger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PostgresLedger").field("connections", &self.pool.state()).finish()
    }
}

impl Ledger for PostgresLedger {
    fn amend_books(&self, keys: &Keys, act: &mut dyn FnMut(&mut Books)) -> Result<(), LedgerError> {
        let lock_timeout = match keys.lock_wait {
            LockWait::Long => Some(self.patience / 4),
            // The session's own, for the way of most callbacks has no statement to spare.
            LockWait::Short => None,
            LockWait::Minimal => Some(MINIMAL_LOCK_WAIT),
        };
        // What waited for a registration may be any number.
        let limit = if keys.waiting { self.patience } else { self.settling_max() };
        let amended = self.session()?.run(limit, |connection| {
            // Only what is there can be looked at without a lock: a new payment or a whole order is locked first.
            let registered = !keys.waiting && !keys.payments.is_empty();
            let unlocked = registered.then(|| amend_unlocked(connection, keys, lock_timeout, act));
            let amended = match unlocked {
                Some(result) if !result.as_ref().is_err_and(StorageError::needs_locks) => result,
                _ => retry_races(|| amend_locked(connection, keys, lock_timeout, act)),
            };
            match amended {
                // A session that can tell what is held is still of use, whatever the error was.
                Err(error) if error.is_particular() => match held_payments(connection, keys) {
                    Ok(payments) if !payments.is_empty() => Err(StorageError::Held { payments }),
                    _ => Err(error),
                },
                amended => amended,
            }
        });
        match amended {
            Err(error) if error.is_particular() => Err(LedgerError::Hindered(error.into())),
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

    fn check_schema(&self) -> Result<(), LedgerError> {
        let applied = self.session()?.run(self.patience, applied_migrations)?;
        compare_schema::<Pg>(&MIGRATIONS, &applied)
    }

    fn check(&self) -> Result<(), LedgerError> {
        let mut session = self.session()?;
        compare_schema::<Pg>(&MIGRATIONS, &session.run(self.settling_max(), applied_migrations)?)?;
        Ok(session.run(self.settling_max(), try_a_commit)?)
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

/// Does what settling needs, and stores nothing.
fn try_a_commit(connection: &mut PgConnection) -> Result<(), StorageError> {
    connection.transaction(|connection| {
        // Waits for a lock on a table as a callback would.
        connection.batch_execute(
            "LOCK TABLE orders, external_payments, open_payments, paypal_payments, webpay_payments, inner_payments, \
             invoice_payments, deliveries, parked_deliveries, partial_refunds, events IN ROW EXCLUSIVE MODE",
        )?;
        // More than fits into the memory that it may use, so it is written to a file: a full disk shows. Tables would
        // keep what is written to them, even if it is rolled back.
        connection.batch_execute("SET LOCAL work_mem = '64kB'; SELECT count(*) FROM generate_series(1, 10000)")?;
        // Makes the commit one that has to get to disk, and to a standby if there is to be one.
        connection.batch_execute("SELECT pg_logical_emit_message(true, 'payment-callback', '')")?;
        Ok(())
    })
}

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
