//! Opens the store that the database's URL names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use adapters_postgres::{ConnectError, LedgerOptions, PostgresStore};
use adapters_sqlite::SqliteStore;
use anyhow::Context as _;
use ports::{LedgerError, Store};
use secrecy::ExposeSecret as _;

use crate::settings::{DatabaseUrl, SettingsError};

/// How a command that is not `serve` uses the store.
const FOR_COMMAND: LedgerOptions = LedgerOptions { pool_size: 1, patience: Duration::from_secs(10) };

impl DatabaseUrl {
    /// Applies the pending migrations and names them, waiting for the database for so long.
    pub(crate) fn migrate(&self, wait: Duration) -> anyhow::Result<Vec<String>> {
        let started = Instant::now();
        loop {
            let result = match self {
                Self::Postgres(url) => adapters_postgres::migrate(url.expose_secret(), wait),
                Self::Sqlite(path) => adapters_sqlite::migrate(path, wait),
            };
            match result {
                Err(ConnectError::OutOfReach(_)) if started.elapsed() < wait => {
                    std::thread::sleep(Duration::from_millis(250));
                }
                Err(ConnectError::SharedSessions) => return Err(shared_sessions().into()),
                result => return result.context("the database named by DATABASE_URL is not ready"),
            }
        }
    }

    /// The store.
    pub(crate) fn store(&self, options: LedgerOptions) -> Arc<dyn Store> {
        match self {
            Self::Postgres(url) => Arc::new(PostgresStore::open(url.expose_secret(), options)),
            Self::Sqlite(path) => Arc::new(SqliteStore::open(path, options)),
        }
    }

    /// The store for one command, if its schema is this program's.
    pub(crate) fn store_for_command(&self) -> anyhow::Result<Arc<dyn Store>> {
        self.checked_for_command(self.store(FOR_COMMAND))
    }

    /// The same for a command that only reads.
    pub(crate) fn store_for_reading(&self) -> anyhow::Result<Arc<dyn Store>> {
        self.checked_for_command(match self {
            Self::Postgres(url) => Arc::new(PostgresStore::open_for_reading(url.expose_secret(), FOR_COMMAND)),
            Self::Sqlite(_) => self.store(FOR_COMMAND),
        })
    }

    fn checked_for_command(&self, store: Arc<dyn Store>) -> anyhow::Result<Arc<dyn Store>> {
        match self {
            Self::Postgres(url) => match adapters_postgres::check_sessions(url.expose_secret()) {
                Err(ConnectError::SharedSessions) => return Err(shared_sessions().into()),
                checked => checked?,
            },
            Self::Sqlite(path) => {
                anyhow::ensure!(path.exists(), "there is no database yet: run payment-callback migrate");
            }
        }
        match store.check_schema() {
            Err(error @ LedgerError::Outdated { .. }) => Err(error).context("run payment-callback migrate first"),
            checked => Ok(checked.map(|()| store)?),
        }
    }

    /// How many threads settle callbacks at a time: SQLite has one writer, Postgres can sync one batch while
    /// another is being read.
    pub(crate) fn committers(&self) -> usize {
        match self {
            Self::Postgres(_) => 2,
            Self::Sqlite(_) => 1,
        }
    }
}

fn shared_sessions() -> SettingsError {
    let reason = "leads to a pooler that pools transactions: have it pool sessions (PgBouncer: pool_mode = session), or \
                  name the server itself";
    SettingsError::new("DATABASE_URL", reason)
}
