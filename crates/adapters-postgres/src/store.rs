use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use adapters_diesel::{
    LedgerOptions, ParkedRow, RowIds, StorageError, build_pool, compare_schema, open_books, pool_connections,
    retry_races,
};
use diesel::connection::SimpleConnection as _;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use domain::{Books, Changes, PaymentId};
use ports::{Connections, Ledger, LedgerError, LedgerStats, LockWait, Scope, Upkeep};
use r2d2::{NopConnectionCustomizer, Pool, PooledConnection};

use crate::address::{Address, Purpose};
use crate::migrating::{MIGRATIONS, applied_migrations};
use crate::sessions::Sessions;
use crate::statements::{AddPartialRefunds, LockPaymentIds, Park, StoreChanges};
use crate::{queries, shared_queries};

/// The wait for a lock of a caller that will try again: longer than most commits take.
const MINIMAL_LOCK_WAIT: Duration = Duration::from_millis(10);

/// The ledger in a PostgreSQL database.
pub struct PostgresStore {
    pool: Pool<Sessions>,
    pub(crate) patience: Duration,
    /// The session that hears of what other replicas announce.
    pub(crate) listener: Mutex<Option<PooledConnection<Sessions>>>,
}

impl PostgresStore {
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
        Self { pool: build_pool(sessions, options, NopConnectionCustomizer), patience, listener: Mutex::default() }
    }

    pub(crate) fn session(&self) -> Result<PooledConnection<Sessions>, LedgerError> {
        self.pool.get().map_err(|error| LedgerError::Unavailable(error.into()))
    }

    /// How long settling may take: there is time then to connect to another server before the deadline.
    fn settling_max(&self) -> Duration {
        self.patience * 2 / 3
    }

    /// Reads in one snapshot.
    pub(crate) fn read<T>(
        &self,
        read: impl FnMut(&mut PgConnection) -> Result<T, StorageError>,
    ) -> Result<T, LedgerError> {
        let read =
            |connection: &mut PgConnection| connection.build_transaction().repeatable_read().read_only().run(read);
        Ok(self.session()?.run(self.patience, read)?)
    }

    /// Writes in a transaction of its own, in which each statement sees what was committed before it.
    pub(crate) fn write<T>(
        &self,
        write: impl FnOnce(&mut PgConnection) -> Result<T, StorageError>,
    ) -> Result<T, LedgerError> {
        let write = |connection: &mut PgConnection| connection.build_transaction().read_committed().run(write);
        Ok(self.session()?.run(self.patience, write)?)
    }

    /// As [`PostgresStore::write`], without waiting for the disk: a failure of the server may undo it.
    pub(crate) fn write_unsynced<T>(
        &self,
        write: impl FnOnce(&mut PgConnection) -> Result<T, StorageError>,
    ) -> Result<T, LedgerError> {
        self.write(|connection| {
            connection.batch_execute("SET LOCAL synchronous_commit = off")?;
            write(connection)
        })
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PostgresStore").field("connections", &self.pool.state()).finish()
    }
}

impl Ledger for PostgresStore {
    fn amend_books(&self, scope: &Scope, act: &mut dyn FnMut(&mut Books)) -> Result<(), LedgerError> {
        let lock_timeout = match scope.lock_wait {
            LockWait::Long => Some(self.patience / 4),
            // The session's own, for the way of most callbacks has no statement to spare.
            LockWait::Short => None,
            LockWait::Minimal => Some(MINIMAL_LOCK_WAIT),
        };
        // What waited for a registration may be any number.
        let limit = if scope.parked { self.patience } else { self.settling_max() };
        let amended = self.session()?.run(limit, |connection| {
            // Only what is there can be looked at without a lock: a new payment or a whole order is locked first.
            let registered = !scope.parked && !scope.payments.is_empty();
            let unlocked = registered.then(|| amend_unlocked(connection, scope, lock_timeout, act));
            let amended = match unlocked {
                Some(result) if !result.as_ref().is_err_and(StorageError::needs_locks) => result,
                _ => retry_races(|| amend_locked(connection, scope, lock_timeout, act)),
            };
            match amended {
                // A session that can tell what is held is still of use, whatever the error was.
                Err(error) if error.is_particular() => match held_payments(connection, scope) {
                    Ok(payments) if !payments.is_empty() => Err(StorageError::Held { payments }),
                    _ => Err(error),
                },
                amended => amended,
            }
        });
        match amended {
            Err(error) if error.is_particular() => Err(LedgerError::Contended(error.into())),
            result => Ok(result?),
        }
    }
}

impl Upkeep for PostgresStore {
    fn check_schema(&self) -> Result<(), LedgerError> {
        let applied = self.session()?.run(self.patience, applied_migrations)?;
        compare_schema::<Pg>(&MIGRATIONS, &applied)
    }

    fn check(&self) -> Result<(), LedgerError> {
        let mut session = self.session()?;
        compare_schema::<Pg>(&MIGRATIONS, &session.run(self.settling_max(), applied_migrations)?)?;
        Ok(session.run(self.settling_max(), try_a_commit)?)
    }

    fn stats(&self) -> Result<LedgerStats, LedgerError> {
        self.read(shared_queries::stats)
    }

    fn connections(&self) -> Connections {
        pool_connections(&self.pool)
    }
}

/// Amends the books of payments that are registered, in one snapshot. What others change meanwhile is refused as it
/// is written, so nothing may rest on what is not written; and what changes nothing (a duplicate, say) never waits.
fn amend_unlocked(
    connection: &mut PgConnection,
    scope: &Scope,
    lock_timeout: Option<Duration>,
    act: &mut dyn FnMut(&mut Books),
) -> Result<(), StorageError> {
    connection.build_transaction().repeatable_read().run(|connection| {
        if let Some(timeout) = lock_timeout {
            set_lock_timeout(connection, timeout)?;
        }
        let payments = queries::payments_with_orders(connection, &scope.payments)?;
        if payments.len() < scope.payments.len() {
            return Err(StorageError::Unregistered);
        }
        let partial_refunds = shared_queries::known_partial_refunds(connection, &scope.partial_refunds)?;
        let (mut books, row_ids) = open_books(payments, Vec::new(), partial_refunds, Vec::new())?;
        act(&mut books);
        let changes = books.close();
        if changes.rests_on_unchanged {
            return Err(StorageError::RestsOnUnlocked);
        }
        store(connection, changes, row_ids)
    })
}

/// Amends the books of any payments and orders, there or not, and locks them first: of the ids, the payments and the
/// orders each in one order, which excludes deadlocks. Each statement sees what was committed while it waited.
fn amend_locked(
    connection: &mut PgConnection,
    scope: &Scope,
    lock_timeout: Option<Duration>,
    act: &mut dyn FnMut(&mut Books),
) -> Result<(), StorageError> {
    connection.build_transaction().read_committed().run(|connection| {
        if let Some(timeout) = lock_timeout {
            set_lock_timeout(connection, timeout)?;
        }
        scope.payments.iter().collect::<LockPaymentIds>().execute(connection)?;
        let of_payments = queries::lock_payments(connection, &scope.payments)?;
        let orders = queries::lock_orders(connection, &of_payments, &scope.orders)?;
        let payments = queries::payments_with_orders(connection, &scope.payments)?;
        let partial_refunds = shared_queries::known_partial_refunds(connection, &scope.partial_refunds)?;
        let parked =
            if scope.parked { shared_queries::parked_notifications(connection, &scope.payments)? } else { Vec::new() };
        let (mut books, row_ids) = open_books(payments, orders, partial_refunds, parked)?;
        act(&mut books);
        store(connection, books.close(), row_ids)
    })
}

/// Sets how long the statements of this transaction wait for a lock.
fn set_lock_timeout(connection: &mut PgConnection, timeout: Duration) -> QueryResult<()> {
    connection.batch_execute(&format!("SET LOCAL lock_timeout = {}", timeout.as_millis().max(1)))
}

/// Those of the payments of `scope` that another session holds now. Keeps no lock.
fn held_payments(connection: &mut PgConnection, scope: &Scope) -> Result<BTreeSet<PaymentId>, StorageError> {
    let mut held = BTreeSet::new();
    let looked = connection.build_transaction().read_committed().run(|connection| -> Result<(), StorageError> {
        // A locked table is waited for all the same.
        set_lock_timeout(connection, MINIMAL_LOCK_WAIT)?;
        held = queries::held_payments(connection, &scope.payments)?;
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
            "LOCK TABLE orders, external_payments, open_payments, inner_payment_details, invoice_payment_details, \
             deliveries, parked_deliveries, partial_refunds, events, event_queues IN ROW EXCLUSIVE MODE",
        )?;
        // More than fits into the memory that it may use, so it is written to a file: a full disk shows. Tables would
        // keep what is written to them, even if it is rolled back.
        connection.batch_execute("SET LOCAL work_mem = '64kB'; SELECT count(*) FROM generate_series(1, 10000)")?;
        // Makes the commit one that has to get to disk, and to a standby if there is to be one.
        connection.batch_execute("SELECT pg_logical_emit_message(true, 'payment-callback', '')")?;
        Ok(())
    })
}

fn store(connection: &mut PgConnection, changes: Changes, mut row_ids: RowIds) -> Result<(), StorageError> {
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
    shared_queries::add(connection, added_orders, added_payments, &mut row_ids)?;
    let parked: Vec<ParkedRow> = deliveries.iter().filter_map(ParkedRow::of).collect();
    let (mut deliveries, mut events) = (deliveries.into_iter(), events.into_iter());
    let (entries, told) = (deliveries.by_ref().take(ROWS_MAX), events.by_ref().take(ROWS_MAX));
    StoreChanges::new(&changed_payments, &changed_orders, entries, told, &row_ids)?.execute(connection)?;
    while deliveries.len() > 0 || events.len() > 0 {
        let (entries, told) = (deliveries.by_ref().take(ROWS_MAX), events.by_ref().take(ROWS_MAX));
        StoreChanges::new(&[], &[], entries, told, &row_ids)?.execute(connection)?;
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
