use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use adapters_diesel::StorageError;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::r2d2::R2D2Connection as _;
use diesel::sql_types::{Integer, Text};
use r2d2::ManageConnection;

use crate::address::Address;
use crate::watchdog::{Watch, connect};

/// The longest that a session waits for a lock. A commit of another replica rarely takes so long, a console often
/// longer.
const LOCK_TIMEOUT_MS_MAX: u128 = 250;

/// Makes the sessions of a pool, and tells which of them are of use.
pub(crate) struct Sessions {
    address: Address,
    patience: Duration,
    losses: Arc<Losses>,
}

/// The sessions that were cut off.
#[derive(Debug, Default)]
struct Losses {
    count: AtomicU64,
    /// Their processes, which may not have noticed: one that waits for a standby keeps its locks, and its place among
    /// the server's connections.
    backends: Mutex<Vec<Backend>>,
}

/// A process of a server. The server gives its number again.
#[derive(Debug, Clone, QueryableByName)]
struct Backend {
    #[diesel(sql_type = Integer)]
    pid: i32,
    #[diesel(sql_type = Text)]
    started_at: String,
}

impl Sessions {
    /// Sessions at this address. One statement may take at most `patience`.
    pub(crate) fn new(address: Address, patience: Duration) -> Self {
        Self { address, patience, losses: Arc::default() }
    }

    /// A session without settings.
    ///
    /// # Errors
    /// No server at this address can be reached.
    pub(crate) fn open(&self) -> Result<Session, StorageError> {
        let losses = Arc::clone(&self.losses);
        let losses_before = losses.count.load(Ordering::Relaxed);
        let (connection, watch) = connect(&self.address.url, self.address.connecting_max + self.patience)?;
        Ok(Session { connection, watch, backend: None, losses, losses_before, useless: false })
    }

    /// Ends what is left of the sessions that were cut off, if this is their server.
    fn end_lost_backends(&self, session: &mut Session) {
        for backend in mem::take(&mut *self.losses.lock_backends()) {
            let end = diesel::sql_query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2",
            );
            let end = end.bind::<Integer, _>(backend.pid).bind::<Text, _>(backend.started_at);
            // Where that is not allowed, the server has to notice by itself.
            let _ = session.run(self.patience, |connection| Ok(end.execute(connection)?));
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sessions").field("losses", &self.losses).finish_non_exhaustive()
    }
}

impl Losses {
    /// No code that can panic runs under the lock, so a poisoned one holds what it should.
    fn lock_backends(&self) -> std::sync::MutexGuard<'_, Vec<Backend>> {
        self.backends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ManageConnection for Sessions {
    type Connection = Session;
    type Error = StorageError;

    fn connect(&self) -> Result<Session, StorageError> {
        let mut session = self.open()?;
        session.backend = Some(session.run(self.patience, |connection| {
            connection.batch_execute(&session_settings(self.patience))?;
            let own =
                "SELECT pid, backend_start::text AS started_at FROM pg_stat_activity WHERE pid = pg_backend_pid()";
            Ok(diesel::sql_query(own).get_result(connection)?)
        })?);
        self.end_lost_backends(&mut session);
        Ok(session)
    }

    /// Those that were there when another one was cut off are likely to wait for the same server: finding that out
    /// takes its time for each of them.
    fn is_valid(&self, session: &mut Session) -> Result<(), StorageError> {
        if session.losses_before < self.losses.count.load(Ordering::Relaxed) {
            return Err(StorageError::NoAnswer);
        }
        session.run(self.patience / 3, |connection| Ok(connection.ping()?))
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.useless || thread::panicking() || session.connection.is_broken()
    }
}

/// A connection whose uses are bounded.
pub(crate) struct Session {
    connection: PgConnection,
    watch: Arc<Watch>,
    backend: Option<Backend>,
    losses: Arc<Losses>,
    losses_before: u64,
    useless: bool,
}

impl Session {
    /// Does some work, for at most so long.
    ///
    /// # Errors
    /// Those of `work`; [`StorageError::NoAnswer`] if it fails because the time is up. Whether the commit that it was
    /// waiting for took place is unknown then.
    pub(crate) fn run<T>(
        &mut self,
        limit: Duration,
        work: impl FnOnce(&mut PgConnection) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let (result, cut_off) = self.within(limit, work);
        self.useless |= result.as_ref().is_err_and(StorageError::ends_the_session);
        result.map_err(|error| if cut_off { StorageError::NoAnswer } else { error })
    }

    /// Waits for a notification of a channel that this session listens to, but not longer than this.
    ///
    /// # Errors
    /// The connection is lost.
    pub(crate) fn notified_within(&mut self, patience: Duration) -> Result<bool, StorageError> {
        self.watch.wait_until_readable(patience);
        let notified = self.connection.notifications_iter().collect::<QueryResult<Vec<_>>>();
        self.useless |= notified.is_err();
        Ok(!notified?.is_empty())
    }

    /// Does some work, and says whether it was cut off because it took longer than it may.
    pub(crate) fn within<T>(&mut self, limit: Duration, work: impl FnOnce(&mut PgConnection) -> T) -> (T, bool) {
        self.watch.begin(limit);
        let result = work(&mut self.connection);
        let cut_off = self.watch.end();
        if cut_off {
            self.useless = true;
            self.losses.lock_backends().extend(self.backend.take());
            self.losses.count.fetch_add(1, Ordering::Relaxed);
        }
        (result, cut_off)
    }
}

/// The settings of every session of a pool. One statement may take at most `patience`.
fn session_settings(patience: Duration) -> String {
    let timeout_ms = patience.as_millis();
    // Far less than a statement: a batch that waits for another session's lock goes on without what is locked.
    let lock_timeout_ms = timeout_ms.div_ceil(4).min(LOCK_TIMEOUT_MS_MAX);
    // Every statement here looks up keys, so one plan serves all; planning the one that stores takes longer than the
    // statement itself. Such a plan may be made while the tables are small, and must not read all of them when they
    // are not. What these settings leave of that ends as autovacuum looks at the tables: then plans are made anew.
    format!(
        "SET plan_cache_mode = force_generic_plan; \
         SET enable_seqscan = off; \
         SET enable_hashjoin = off; \
         SET enable_mergejoin = off; \
         SET statement_timeout = {timeout_ms}; \
         SET lock_timeout = {lock_timeout_ms}; \
         SET idle_in_transaction_session_timeout = {timeout_ms}; \
         SELECT set_config('synchronous_commit', 'on', false) \
         WHERE current_setting('synchronous_commit') = 'off'"
    )
}
