use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use ports::{Clock, History, Ledger};

use crate::{Caller, Observed, Observer, Subject};

/// What changes payments and orders, with the ports that it needs. Every method blocks.
#[derive(Clone)]
pub struct UseCases {
    /// Where payments are settled.
    pub ledger: Arc<dyn Ledger>,
    /// Where what is stored is read.
    pub history: Arc<dyn History>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who is told what was decided.
    pub observer: Arc<dyn Observer>,
}

impl UseCases {
    /// The error, after the observer was told of it.
    pub(crate) fn observed<E: Error + 'static>(
        &self,
        subject: Subject<'_>,
        error: E,
        caller: &Caller,
        begun: Instant,
    ) -> Observed<E> {
        self.observer.failed(subject, &error, caller, begun.elapsed());
        Observed(error)
    }
}
