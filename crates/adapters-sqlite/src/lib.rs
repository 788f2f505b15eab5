//! The ledger in an SQLite file, for a single machine: the default, embedded in the binary. One writer at a
//! time, readers beside it, and the migrations. The rows' meaning lives in `adapters-diesel`.

mod checkpointing;
mod connecting;
mod files;
mod ledger;
mod queries;
mod statements;

pub use adapters_diesel::{ConnectError, LedgerOptions};
pub use connecting::migrate;
pub use ledger::SqliteLedger;
