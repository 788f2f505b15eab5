//! The ledger in PostgreSQL keeps the contract, and what is particular to it.

mod migrating;
mod reaching;

use std::sync::Arc;
use std::time::Duration;

use adapters_diesel::LedgerOptions;
use adapters_postgres::{PostgresStore, migrate};
use conformance::ledger::serializing::{EVENTS, check_serializability};
use conformance::ledger::sql::Database;
use conformance::postgres::ThrowawayDatabase;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;
use ports::Store;

/// How long a migration waits for another one.
const WAIT: Duration = Duration::from_secs(30);

/// A database of its own for one test.
struct Own(ThrowawayDatabase);

impl Own {
    fn migrated() -> Self {
        let database = ThrowawayDatabase::create();
        migrate(&database.url(), WAIT).expect("a new database");
        Self(database)
    }

    fn ledger(&self) -> Arc<dyn Store> {
        open(&self.0.url(), Duration::from_secs(30))
    }
}

fn open(database_url: &str, patience: Duration) -> Arc<dyn Store> {
    Arc::new(PostgresStore::open(database_url, LedgerOptions { pool_size: 4, patience }))
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    text: String,
}

impl Database for Own {
    fn execute(&self, statements: &str) -> Result<(), String> {
        let run = |connection: &mut PgConnection| connection.batch_execute(statements);
        self.0.connect().transaction(run).map_err(|error: diesel::result::Error| error.to_string())
    }

    fn texts(&self, query: &str) -> Vec<String> {
        let rows: Vec<TextRow> = diesel::sql_query(query).load(&mut self.0.connect()).expect("a query that runs");
        rows.into_iter().map(|row| row.text).collect()
    }
}

fn fresh_ledger() -> (Arc<dyn Store>, Own) {
    let database = Own::migrated();
    (database.ledger(), database)
}

/// As in two replicas: nothing is shared but the database.
fn two_ledgers() -> (Arc<dyn Store>, Arc<dyn Store>, Own) {
    let database = Own::migrated();
    (database.ledger(), database.ledger(), database)
}

conformance::ledger_conformance!(fresh_ledger);
conformance::shared_ledger_conformance!(two_ledgers);
conformance::sql_ledger_conformance!(fresh_ledger);

#[test]
fn whatever_happens_at_once_equals_some_order_of_it() {
    let (one, other, database) = two_ledgers();
    check_serializability(&[one, other], &|| database.texts(EVENTS));
}
