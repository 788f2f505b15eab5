//! What every adapter of a port must do, as tests that each adapter runs over itself: plain functions over
//! a fresh ledger, and a macro that makes tests of them. Beside them what such tests need: a ledger in
//! memory, small words for payments and notifications, throwaway databases. What only one adapter must do
//! (its migrations, its corrupt rows, its sessions) is tested beside that adapter.

#![allow(missing_docs, reason = "the names of tests are the facts")]

pub mod fixtures;
pub mod ledger;
mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;

pub use memory::MemoryStore;
