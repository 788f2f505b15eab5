//! What the stores on Diesel have in common: the schema, the rows and how they are read as the domain's values, and
//! what a database's errors mean. The queries that are the same on every database are in `shared_queries.rs`, which
//! each database's crate compiles for its own connection. What is particular to one database (its locks, its bulk
//! statements, its settings) lives in that database's crate.

#![allow(missing_docs, reason = "docs/data-model.md describes tables and columns")]

mod books;
mod columns;
mod connecting;
mod errors;
mod rows;
pub mod schema;
mod stats;

pub use books::{RowIds, open_books};
pub use columns::{StoredTime, StoredUuid, sql_types};
pub use connecting::{
    ConnectError, LedgerOptions, apply_pending, build_pool, compare_schema, pool_connections, retry_races,
};
pub use errors::StorageError;
pub use rows::{
    AttemptRow, DeliveryRow, EventChange, EventRow, EventStatusRow, InnerDetailsRow, InvoiceDetailsRow, NamedEventRow,
    OpenRow, OrderChange, OrderRow, ParkedRow, PartialRefundRow, PaymentChange, PaymentRow, PendingEventRow,
    RecordedRow, details_rows, not_applied_outcomes, read_all, readable_events, recorded_payment,
};
pub use stats::{StatsRow, stats_query};
