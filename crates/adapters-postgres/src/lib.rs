//! The ledger in PostgreSQL, for production and for any number of replicas: row locks, one statement per
//! table whatever the size of the batch, and the migrations. The rows' meaning lives in `adapters-diesel`.

mod address;
mod connecting;
mod ledger;
mod queries;
mod sessions;
mod statements;
mod watchdog;

pub use adapters_diesel::{ConnectError, LedgerOptions};
pub use connecting::{check_sessions, migrate};
pub use ledger::PostgresLedger;
