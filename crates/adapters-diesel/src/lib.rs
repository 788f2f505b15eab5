//! What the ledgers on Diesel have in common: the schema, the rows and how they are read as the domain's
//! values, the queries that read the same on every database, and what a database's errors mean. What is
//! particular to one database (its locks, its bulk statements, its settings) lives in that database's crate.

mod books;
mod columns;
mod connecting;
mod errors;
mod figures;
mod queries;
mod rows;
#[expect(missing_docs, reason = "docs/data-model.md describes the tables")]
pub mod schema;

pub use books::{SurrogateKeys, open_books};
pub use columns::{At, Key, sql_types};
pub use connecting::{
    ConnectError, LedgerOptions, apply_pending, build_pool, compare_schema, pool_connections, retry_races,
};
pub use errors::StorageError;
pub use figures::{FiguresRow, figures_query};
pub use rows::{
    DeliveryRow, EventRow, InnerRow, InvoiceRow, OpenRow, OrderChange, OrderRow, ParkedRow, PartialRefundRow,
    PaymentChange, PaymentRow, PaypalRow, RecordRow, RecordedRow, WebpayRow, missing_record, read_all,
    recorded_payment,
};
