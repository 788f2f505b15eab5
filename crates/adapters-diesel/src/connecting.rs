use std::time::Duration;

use diesel::backend::Backend;
use diesel::migration::{Migration, MigrationSource};
use diesel_migrations::MigrationHarness;
use ports::{Connections, LedgerError};
use r2d2::{CustomizeConnection, ManageConnection, NopErrorHandler, Pool};

use crate::StorageError;

/// How a ledger uses its database.
#[derive(Debug, Clone, Copy)]
pub struct LedgerOptions {
    /// The most connections at a time.
    pub pool_size: u32,
    /// The longest that a caller waits for a connection, and that one statement may take.
    pub patience: Duration,
}

/// Why a database could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No connection; it may help to try again.
    #[error("cannot connect to the database")]
    OutOfReach(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A migration failed; it changed nothing.
    #[error("a migration failed")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Several clients share the server's sessions, transaction by transaction.
    #[error("sessions are shared: a pooler must pool sessions (pool_mode = session), not transactions")]
    SharedSessions,
}

/// Before there are migrations to fail, an error of the database is one of its being out of reach.
impl From<StorageError> for ConnectError {
    fn from(error: StorageError) -> Self {
        Self::OutOfReach(error.into())
    }
}

impl From<diesel::result::Error> for ConnectError {
    fn from(error: diesel::result::Error) -> Self {
        Self::OutOfReach(error.into())
    }
}

/// A pool that connects when it is first asked, so that a ledger can be opened while its database is away.
///
/// # Panics
/// If the pool size is 0.
pub fn build_pool<M: ManageConnection>(
    manager: M,
    options: LedgerOptions,
    customizer: impl CustomizeConnection<M::Connection, M::Error>,
) -> Pool<M> {
    Pool::builder()
        .max_size(options.pool_size)
        .min_idle(Some(1))
        .connection_timeout(options.patience)
        .test_on_check_out(true)
        // The caller that waits for the connection gets the error.
        .error_handler(Box::new(NopErrorHandler))
        .connection_customizer(Box::new(customizer))
        .build_unchecked(manager)
}

/// How many connections of a pool are open now.
pub fn pool_connections<M: ManageConnection>(pool: &Pool<M>) -> Connections {
    let state = pool.state();
    let (open, idle) = (state.connections, state.idle_connections);
    Connections { busy: open.saturating_sub(idle), idle, limit: pool.max_size() }
}

/// How often a transaction runs that loses races.
const RACES_MAX: usize = 8;

/// Runs `transaction` until it has lost no race, or too many.
///
/// # Errors
/// Those of `transaction`.
pub fn retry_races<T>(mut transaction: impl FnMut() -> Result<T, StorageError>) -> Result<T, StorageError> {
    let mut races = 1;
    loop {
        match transaction() {
            Err(error) if error.lost_a_race() && races < RACES_MAX => races += 1,
            result => return result,
        }
    }
}

/// Applies the pending migrations and names them.
///
/// # Errors
/// [`LedgerError::Newer`], or that of the first migration that fails.
pub fn apply_pending<DB: Backend>(
    connection: &mut impl MigrationHarness<DB>,
    migrations: impl MigrationSource<DB>,
) -> diesel::migration::Result<Vec<String>> {
    let applied: Vec<String> = connection.applied_migrations()?.iter().map(ToString::to_string).collect();
    if let Err(error @ LedgerError::Newer { .. }) = compare_schema(&migrations, &applied) {
        return Err(error.into());
    }
    let pending: Vec<Box<dyn Migration<DB>>> = connection.pending_migrations(migrations)?;
    let apply = |migration: Box<dyn Migration<DB>>| {
        connection.run_migration(&migration)?;
        Ok(migration.name().to_string())
    };
    pending.into_iter().map(apply).collect()
}

/// Whether the migrations whose versions were applied are those of this program.
///
/// # Errors
/// [`LedgerError::Newer`] or [`LedgerError::Outdated`] if not.
pub fn compare_schema<DB: Backend>(
    migrations: &impl MigrationSource<DB>,
    applied: &[String],
) -> Result<(), LedgerError> {
    let known = migrations.migrations().map_err(LedgerError::Unavailable)?;
    let known: Vec<String> = known.iter().map(|migration| migration.name().version().to_string()).collect();
    let unknown = applied.iter().filter(|version| !known.contains(version)).count();
    let pending = known.iter().filter(|version| !applied.contains(version)).count();
    match (unknown, pending) {
        (0, 0) => Ok(()),
        (0, pending) => Err(LedgerError::Outdated { pending }),
        (unknown, _) => Err(LedgerError::Newer { unknown }),
    }
}
