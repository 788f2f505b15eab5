//! The store in PostgreSQL, for production and for any number of replicas: registered payments are read without locks
//! and written in one statement whatever the size of the batch, everything else is locked first; and the migrations.
//! The rows' meaning lives in `adapters-diesel`.

mod address;
mod migrating;
mod outbox;
mod queries;
mod sessions;
#[path = "../../adapters-diesel/src/shared_queries.rs"]
mod shared_queries;
#[path = "../../adapters-diesel/src/shared_retention.rs"]
mod shared_retention;
mod statements;
mod store;
mod watchdog;

pub use adapters_diesel::{ConnectError, LedgerOptions};
pub use migrating::{check_sessions, migrate, migrate_with};
pub use store::PostgresStore;
use store::PostgresStore as Store;

/// What the shared queries run on.
type Connection = diesel::PgConnection;
