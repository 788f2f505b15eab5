//! The store in an SQLite file, for a single machine: the default, embedded in the binary. One writer at a time,
//! readers beside it, and the migrations. The rows' meaning lives in `adapters-diesel`.

mod checkpointing;
mod connecting;
mod files;
mod outbox;
mod queries;
#[path = "../../adapters-diesel/src/shared_queries.rs"]
mod shared_queries;
#[path = "../../adapters-diesel/src/shared_retention.rs"]
mod shared_retention;
mod statements;
mod store;

pub use adapters_diesel::{ConnectError, LedgerOptions};
pub use connecting::{migrate, migrate_with};
pub use store::SqliteStore;
use store::SqliteStore as Store;

/// What the shared queries run on.
type Connection = diesel::SqliteConnection;
