//! The ledger in PostgreSQL keeps the contract, and what is particular to it.

mod migrating;
mod reaching;

use std::sync::Arc;
use std::time::Duration;

use adapters_diesel::LedgerOptions;
use adapters_postgres::{PostgresLedger, migrate};
use contracts::ledger::serializing::{EVENTS, check_serializability};
use contracts::ledger::sql::Database;
use contracts::postgres::ThrowawayDatabase;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;
use ports::Ledger;

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

    fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::new(open(&self.0.url(), Duration::from_secs(30)))
    }
}

fn open(database_url: &str, patience: Duration) -> PostgresLedger {
    PostgresLedger::open(database_url, LedgerOptions { pool_size: 4, patience })
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

fn fresh_ledger() -> (Arc<dyn Ledger>, Own) {
    let database = Own::migrated();
    (database.ledger(), database)
}

/// As in two replicas: nothing is shared but the database.
fn two_ledgers() -> (Arc<dyn Ledger>, Arc<dyn Ledger>, Own) {
    let database = Own::migrated();
    (database.ledger(), database.ledger(), database)
}

contracts::ledger_contract!(fresh_ledger);
contracts::shared_ledger_contract!(two_ledgers);
contracts::sql_ledger_contract!(fresh_ledger);

#[test]
fn whatever_happens_at_once_equals_some_order_of_it() {
    let (one, other, database) = two_ledgers();
    check_serializability(&[one, other], &|| database.texts(EVENTS));
}
