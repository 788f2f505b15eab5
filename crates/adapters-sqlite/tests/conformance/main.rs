//! The ledger in SQLite keeps the contract, and what is particular to it.

mod checkpointing;
mod migrating;
mod reaching;
mod replacing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adapters_diesel::LedgerOptions;
use adapters_sqlite::{SqliteStore, migrate};
use conformance::ledger::serializing::{EVENTS, check_serializability};
use conformance::ledger::sql::Database;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;
use ports::Store;
use tempfile::TempDir;

/// How long a migration waits for another one.
const WAIT: Duration = Duration::from_secs(30);

/// A database file that goes with its folder.
struct File {
    folder: TempDir,
}

impl File {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn migrated() -> Self {
        let file = Self::new();
        migrate(&file.path(), WAIT).expect("a new database");
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.sqlite3")
    }

    fn ledger(&self) -> Arc<dyn Store> {
        open(&self.path(), Duration::from_secs(30))
    }

    fn connect(&self) -> SqliteConnection {
        let mut connection = SqliteConnection::establish(&self.path().to_string_lossy()).expect("a database");
        connection.batch_execute("PRAGMA busy_timeout = 30000; PRAGMA foreign_keys = ON").expect("settings");
        connection
    }
}

fn open(path: &Path, patience: Duration) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, LedgerOptions { pool_size: 4, patience }))
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    text: String,
}

impl Database for File {
    fn execute(&self, statements: &str) -> Result<(), String> {
        let run = |connection: &mut SqliteConnection| connection.batch_execute(statements);
        self.connect().transaction(run).map_err(|error| error.to_string())
    }

    fn texts(&self, query: &str) -> Vec<String> {
        let rows: Vec<TextRow> = diesel::sql_query(query).load(&mut self.connect()).expect("a query that runs");
        rows.into_iter().map(|row| row.text).collect()
    }
}

fn fresh_ledger() -> (Arc<dyn Store>, File) {
    let file = File::migrated();
    (file.ledger(), file)
}

/// As in two processes: nothing is shared but the file.
fn two_ledgers() -> (Arc<dyn Store>, Arc<dyn Store>, File) {
    let file = File::migrated();
    (file.ledger(), file.ledger(), file)
}

conformance::ledger_conformance!(fresh_ledger);
conformance::shared_ledger_conformance!(two_ledgers);
conformance::sql_ledger_conformance!(fresh_ledger);

#[test]
fn whatever_happens_at_once_equals_some_order_of_it() {
    let (one, other, database) = two_ledgers();
    check_serializability(&[one, other], &|| database.texts(EVENTS));
}
