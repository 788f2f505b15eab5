//! Which ledger the database's URL names.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adapters_postgres::{ConnectError, LedgerOptions, PostgresLedger};
use adapters_sqlite::SqliteLedger;
use anyhow::Context as _;
use ports::{Ledger, LedgerError};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// How long a command that is not `serve` waits for a connection or a statement.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the ledger is.
pub(crate) enum DatabaseUrl {
    /// A PostgreSQL server; the URL may hold a password.
    Postgres(SecretString),
    /// A file.
    Sqlite(PathBuf),
}

impl DatabaseUrl {
    /// Reads the URL; the error says what it must be and never shows it.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        match url.split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() && !path.starts_with(':') && !path.contains('?') => {
                Ok(Self::Sqlite(path.into()))
            }
            Some(("postgres" | "postgresql", rest)) if is_postgres_address(rest) => {
                Ok(Self::Postgres(url.to_owned().into()))
            }
            _ => Err("must be postgres://USER:PASSWORD@HOST:PORT/DATABASE or sqlite://PATH"),
        }
    }

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
                result => return result.context("the database named by DATABASE_URL is not ready"),
            }
        }
    }

    /// The ledger.
    pub(crate) fn ledger(&self, options: LedgerOptions) -> Arc<dyn Ledger> {
        match self {
            Self::Postgres(url) => Arc::new(PostgresLedger::open(url.expose_secret(), options)),
            Self::Sqlite(path) => Arc::new(SqliteLedger::open(path, options)),
        }
    }

    /// The ledger for one command, if its schema is this program's.
    pub(crate) fn ledger_for_command(&self) -> anyhow::Result<Arc<dyn Ledger>> {
        if let Self::Sqlite(path) = self {
            anyhow::ensure!(path.exists(), "there is no database yet: run payment-callback migrate");
        }
        let ledger = self.ledger(LedgerOptions { pool_size: 1, patience: PATIENCE });
        match ledger.check() {
            Err(error @ LedgerError::Outdated { .. }) => Err(error).context("run payment-callback migrate first"),
            checked => Ok(checked.map(|()| ledger)?),
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

impl fmt::Display for DatabaseUrl {
    /// The kind of database, and for a file its path; never a host, a user or a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(_) => formatter.write_str("postgres"),
            Self::Sqlite(path) => write!(formatter, "sqlite at {}", path.display()),
        }
    }
}

/// Whether libpq understands what follows the scheme. What it does not understand, its error shows, and that may
/// be the password.
fn is_postgres_address(rest: &str) -> bool {
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = address.split('/').next().unwrap_or_default();
    let hosts = authority.split_once('@').map_or(authority, |(_user, hosts)| hosts);
    // libpq takes several hosts, which the standard for URLs does not know.
    let is_host = |host: &str| !host.contains('@') && Url::parse(&format!("postgres://{host}")).is_ok();
    let is_escaped = |after: &str| after != "00" && after.bytes().all(|digit| digit.is_ascii_hexdigit());
    !rest.contains(char::is_whitespace)
        && hosts.split(',').all(is_host)
        && rest.split('%').skip(1).all(|after| after.get(..2).is_some_and(is_escaped))
        && (query.is_empty() || query.split('&').all(|part| part.matches('=').count() == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_the_two_databases_are_taken() {
        for url in [
            "sqlite://data/x.sqlite3",
            "sqlite:///abs/x",
            "postgres://u:p@h:5432/db",
            "postgresql:///db",
            "postgres://a:1,b:2/db",
            "postgres://u:p@a,[::1]:2/db",
            "postgres://u:p%40%2F@h/db?sslmode=require&connect_timeout=3",
            "postgres://%2Frun%2Fpostgresql/db",
            "postgres://u:p#p@/db?host=/run",
            "postgres://",
        ] {
            assert!(DatabaseUrl::parse(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "x",
            "mysql://h/db",
            "sqlite://",
            "sqlite://:memory:",
            "postgres://h:port/db",
            "postgres:h",
            "postgres://u:p@h:1x,b/db",
            "postgres://u:p@[::1,b/db",
            "postgres://u:p@p@h/db",
            "postgres://u:p/p@h/db",
            "postgres://u:p%@h/db",
            "postgres://u:p%zz@h/db",
            "postgres://u:p%00@h/db",
            "postgres://u:p@h/db?p",
            "postgres://u:p p@h/db",
            "sqlite://x.sqlite3?mode=ro",
        ] {
            assert!(DatabaseUrl::parse(url).is_err(), "{url}");
        }
    }
}
