use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use adapters_diesel::schema::{deliveries, events, parked_deliveries, partial_refunds};
use adapters_diesel::{
    DeliveryRow, EventRow, LedgerOptions, ParkedRow, PartialRefundRow, RowIds, StorageError, build_pool,
    compare_schema, open_books, pool_connections, retry_races,
};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::r2d2::{ManageConnection as _, NopConnectionCustomizer, Pool, PooledConnection};
use diesel::sqlite::Sqlite;
use domain::{Books, Changes};
use ports::{Connections, Ledger, LedgerError, LedgerStats, Scope, Upkeep};

use crate::checkpointing::Checkpointer;
use crate::connecting::{MIGRATIONS, Opener, Session, applied_migrations};
use crate::{queries, shared_queries};

/// How long readiness waits for the turn to write in this process, and then for other processes.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(1);

/// The ledger in an SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    pool: Pool<Opener>,
    /// SQLite lets one connection write at a time and has the others poll for their turn; waiting here is
    /// fair and costs nothing.
    writing: Arc<Mutex<()>>,
    /// How many there have been.
    commits: AtomicU64,
    /// Opens connections that wait for other processes at most for [`PROBE_WAIT_MAX`].
    prober: Opener,
    checkpointer: Checkpointer,
}

impl SqliteStore {
    /// A ledger in the database in this file, which must be there. It is opened when the ledger is first asked.
    #[must_use]
    pub fn open(path: &Path, options: LedgerOptions) -> Self {
        let opener = Opener::new(path, Session { busy_timeout: options.patience });
        let writing = Arc::default();
        let checkpointer = Checkpointer::start(opener.clone(), Arc::clone(&writing));
        Self {
            path: path.to_owned(),
            commits: AtomicU64::new(0),
            prober: opener.with_busy_timeout(PROBE_WAIT_MAX.min(options.patience)),
            pool: build_pool(opener, options, NopConnectionCustomizer),
            writing,
            checkpointer,
        }
    }

    fn connection(&self) -> Result<PooledConnection<Opener>, LedgerError> {
        self.pool.get().map_err(|error| LedgerError::Unavailable(error.into()))
    }

    /// Reads in one snapshot.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&mut SqliteConnection) -> Result<T, StorageError>,
    ) -> Result<T, LedgerError> {
        self.connection()?.run(|connection| connection.transaction(read))
    }

    /// Writes in one transaction, when it is this thread's turn.
    pub(crate) fn write<T>(
        &self,
        mut write: impl FnMut(&mut SqliteConnection) -> Result<T, StorageError>,
    ) -> Result<T, LedgerError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // An immediate transaction locks the whole database, and with it every key.
        let written = self
            .connection()?
            .run(|connection| retry_races(|| connection.immediate_transaction(|connection| write(connection))))?;
        self.checkpointer.wake();
        Ok(written)
    }

    /// As [`SqliteStore::write`], without waiting for the disk: a failure of the machine may undo it.
    pub(crate) fn write_unsynced<T>(
        &self,
        mut write: impl FnMut(&mut SqliteConnection) -> Result<T, StorageError>,
    ) -> Result<T, LedgerError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.connection()?.run(|connection| -> Result<T, StorageError> {
            connection.batch_execute("PRAGMA synchronous = NORMAL")?;
            let written = retry_races(|| connection.immediate_transaction(|connection| write(connection)));
            // If this fails, the connection is closed.
            connection.batch_execute("PRAGMA synchronous = FULL")?;
            written
        })?;
        self.checkpointer.wake();
        Ok(written)
    }

    /// The turn to write, or none if another writer commits before it can be had, which shows as much.
    fn turn_or_commit(&self) -> Result<Option<MutexGuard<'_, ()>>, LedgerError> {
        let (commits, deadline) = (self.commits.load(Ordering::Relaxed), Instant::now() + PROBE_WAIT_MAX);
        loop {
            match self.writing.try_lock() {
                Ok(turn) => return Ok(Some(turn)),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(Some(poisoned.into_inner())),
                Err(TryLockError::WouldBlock) if self.commits.load(Ordering::Relaxed) != commits => return Ok(None),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                Err(TryLockError::WouldBlock) => {
                    return Err(LedgerError::Unavailable("another thread has been writing for too long".into()));
                }
            }
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SqliteStore").field("connections", &self.pool.state()).finish()
    }
}

impl Ledger for SqliteStore {
    fn amend_books(&self, scope: &Scope, act: &mut dyn FnMut(&mut Books)) -> Result<(), LedgerError> {
        self.write(|connection| amend(connection, scope, act))?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Upkeep for SqliteStore {
    fn check_schema(&self) -> Result<(), LedgerError> {
        compare_schema::<Sqlite>(&MIGRATIONS, &self.read(applied_migrations)?)
    }

    fn check(&self) -> Result<(), LedgerError> {
        self.check_schema()?;
        try_to_write_beside(&self.path).map_err(|error| LedgerError::Unavailable(error.into()))?;
        if let Some(_turn) = self.turn_or_commit()? {
            let mut connection = self.prober.connect().map_err(|error| LedgerError::Unavailable(error.into()))?;
            connection.run(|connection| connection.immediate_transaction(try_to_commit))?;
            self.checkpointer.wake();
        }
        Ok(())
    }

    fn stats(&self) -> Result<LedgerStats, LedgerError> {
        self.read(shared_queries::stats)
    }

    fn connections(&self) -> Connections {
        pool_connections(&self.pool)
    }
}

/// Whether there is room for more than a callback changes. A commit does not show it: after a checkpoint it goes where
/// the log has been written before.
fn try_to_write_beside(database: &Path) -> io::Result<()> {
    let database = database.canonicalize()?;
    tempfile::tempfile_in(database.with_file_name(""))?.write_all(&[0; 128 * 1024])
}

/// Writes the first page as it is, which is synced as any commit.
fn try_to_commit(connection: &mut SqliteConnection) -> Result<(), StorageError> {
    Ok(connection.batch_execute("PRAGMA user_version = 0")?)
}

fn amend(
    connection: &mut SqliteConnection,
    scope: &Scope,
    act: &mut dyn FnMut(&mut Books),
) -> Result<(), StorageError> {
    let payments = queries::payments_with_orders(connection, &scope.payments)?;
    let read: BTreeSet<&str> = payments.iter().map(|(_, _, order)| order.order_id.as_str()).collect();
    let orders = queries::orders(connection, scope.orders.iter().filter(|id| !read.contains(id.as_str())))?;
    let partial_refunds = shared_queries::known_partial_refunds(connection, &scope.partial_refunds)?;
    let parked =
        if scope.parked { shared_queries::parked_notifications(connection, &scope.payments)? } else { Vec::new() };
    let (mut books, row_ids) = open_books(payments, orders, partial_refunds, parked)?;
    act(&mut books);
    store(connection, books.close(), row_ids)
}

fn store(connection: &mut SqliteConnection, changes: Changes, mut row_ids: RowIds) -> Result<(), StorageError> {
    let Changes {
        added_orders,
        added_payments,
        changed_orders,
        changed_payments,
        partial_refunds: refunds,
        deliveries,
        unparked,
        events,
        rests_on_unchanged: _,
    } = changes;
    shared_queries::add(connection, added_orders, added_payments, &mut row_ids)?;
    for payment in changed_payments {
        queries::update_payment(connection, &payment, &row_ids)?;
    }
    for order in changed_orders {
        queries::update_order(connection, &order, &row_ids)?;
    }
    let parked: Vec<ParkedRow> = deliveries.iter().filter_map(ParkedRow::of).collect();
    for delivery in deliveries {
        let row = DeliveryRow::new(delivery, &row_ids);
        diesel::insert_into(deliveries::table).values(row).execute(connection)?;
    }
    for row in parked {
        let again = (parked_deliveries::payment_id, parked_deliveries::identity);
        let insert = diesel::insert_into(parked_deliveries::table).values(row);
        insert.on_conflict(again).do_nothing().execute(connection)?;
    }
    for id in unparked {
        let of_payment = parked_deliveries::payment_id.eq(id.as_str());
        diesel::delete(parked_deliveries::table.filter(of_payment)).execute(connection)?;
    }
    for refund in refunds {
        let row = PartialRefundRow::from(refund);
        diesel::insert_into(partial_refunds::table).values(row).execute(connection)?;
    }
    for event in events {
        let row = EventRow::new(event, &row_ids)?;
        queries::queue(connection, row.order_key, row.created_at)?;
        diesel::insert_into(events::table).values(row).execute(connection)?;
    }
    Ok(())
}
