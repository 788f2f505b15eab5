use std::collections::BTreeSet;
use std::error::Error;

use domain::PaymentId;

/// Why a store did not do what it was asked to. Nothing of it was stored.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It is out of reach or too busy. Try again later.
    #[error("the ledger is unavailable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// Another session has locked these payments or their orders. Try again later; what concerns other payments can
    /// succeed at once.
    #[error("{} of these payments or their orders are locked by another session", .payments.len())]
    Held {
        /// Those of the payments asked for.
        payments: BTreeSet<PaymentId>,
    },
    /// It could not do just this, because of a locked table or a statement that took too long, say. Try again later;
    /// what concerns other payments may succeed at once.
    #[error("the ledger could not do this in time")]
    Contended(#[source] Box<dyn Error + Send + Sync>),
    /// Its schema is not this program's. Run `payment-callback migrate`.
    #[error("the ledger's schema is not up to date: {pending} pending migrations")]
    Outdated {
        /// How many migrations are pending.
        pending: usize,
    },
    /// Its schema is that of a newer program. Run that one.
    #[error("the ledger's schema is newer than this program: {unknown} unknown migrations")]
    Newer {
        /// How many migrations were applied that this program does not know.
        unknown: usize,
    },
    /// A stored value cannot be understood. An operator has to look at it.
    #[error("the ledger holds a {what} that cannot be understood: {value:?}")]
    Corrupt {
        /// What it is: a table's column.
        what: &'static str,
        /// What was found there, or its length where it may be personal data.
        value: String,
    },
    /// It refuses. Trying again would fail again.
    #[error("the ledger refused")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
}
