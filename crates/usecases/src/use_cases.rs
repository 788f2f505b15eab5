use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use domain::Settlement;
use ports::{Clock, History, Ledger, Outbox};
use tokio::sync::Notify;

use crate::{Caller, Observed, Observer, Subject};

/// What changes payments, orders and events, with the ports that it needs. Every method blocks.
#[derive(Clone)]
pub struct UseCases {
    /// Where payments are settled.
    pub ledger: Arc<dyn Ledger>,
    /// Where what is stored is read.
    pub history: Arc<dyn History>,
    /// Where events wait to be sent.
    pub outbox: Arc<dyn Outbox>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who is told what was decided.
    pub observer: Arc<dyn Observer>,
    /// Is notified of each commit after which there are events to send.
    pub events_to_send: Arc<Notify>,
}

impl UseCases {
    /// These settlements are stored.
    pub(crate) fn stored(&self, settlements: &[Settlement]) {
        if settlements.iter().any(|settlement| !settlement.events.is_empty()) {
            self.events_to_send.notify_one();
        }
    }

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
