use std::collections::BTreeSet;
use std::error::Error;
use std::iter::successors;

use domain::PaymentId;

/// Why a store did not do what it was asked to. Nothing of it was stored, unless it became unavailable while it was
/// committing: then that is not known. It is safe to ask again.
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
    #[error("the ledger could not do this now")]
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

/// How much of an error's text is kept, in bytes: texts from elsewhere have no limit.
const TEXT_BYTES_MAX: usize = 4096;

/// An error and all its causes, for the log.
#[must_use]
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let errors = successors(Some(error), |&error| error.source());
    let mut text = errors.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_names_all_causes_but_has_an_end() {
        let cause = |text: String| LedgerError::Unavailable(text.into());
        assert_eq!(error_chain(&cause("it is away".to_owned())), "the ledger is unavailable: it is away");
        assert!(error_chain(&cause("é".repeat(10_000))).len() <= TEXT_BYTES_MAX);
    }
}
