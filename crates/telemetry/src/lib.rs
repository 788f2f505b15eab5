//! What the use cases did, as log records (slog) and metrics (Prometheus). Requests and their
//! answers are recorded in `adapters-http`; where log records go is for `adapters-logging`.

mod fields;
mod metrics;
mod records;
mod state;

use std::error::Error;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{Cancellation, DeliveryId, EventAttempt, EventId, OrderId, Registration, RegistrationOutcome, Settlement};
use ports::{AttemptResult, EventFilter, LedgerError, LedgerStats, PendingEvent};
use slog::Logger;
use usecases::{Caller, Observer, ParsedBody, Pruned, RedeliveredEvents, Subject};

pub use metrics::Metrics;
pub use state::{LogRecordCount, State};

/// Records what use cases did.
pub struct Telemetry {
    log: Logger,
    metrics: Metrics,
}

impl Telemetry {
    /// Logs to `log` and counts in `metrics`.
    #[must_use]
    pub fn new(log: Logger, metrics: Metrics) -> Self {
        Self { log, metrics }
    }
}

impl Observer for Telemetry {
    fn received(&self, body: &ParsedBody, caller: &Caller) {
        records::received(&self.log, body, caller);
    }

    fn dequeued(&self, waited: Duration) {
        self.metrics.dequeued(waited);
    }

    fn committed(&self, callbacks: usize, took: Duration, result: Result<(), &LedgerError>) {
        self.metrics.committed(callbacks, took, result);
    }

    fn settled(&self, settlement: &Settlement, took: Duration) {
        self.metrics.delivered(&settlement.delivery);
        records::settled(&self.log, settlement, Some(took));
    }

    fn registered(
        &self,
        registration: &Registration,
        outcome: RegistrationOutcome,
        applied: &[Settlement],
        caller: &Caller,
        took: Duration,
    ) {
        for settlement in applied {
            self.metrics.delivered(&settlement.delivery);
        }
        records::registered(&self.log, registration, outcome, applied, caller, took);
    }

    fn cancelled(&self, id: &OrderId, outcome: Cancellation, caller: &Caller, took: Duration) {
        records::cancelled(&self.log, id, outcome, caller, took);
    }

    fn replayed(&self, id: DeliveryId, settlement: &Settlement, dry_run: bool, caller: &Caller, took: Duration) {
        if !dry_run {
            self.metrics.delivered(&settlement.delivery);
        }
        records::replayed(&self.log, id, settlement, dry_run, caller, took);
    }

    fn event_redelivered(&self, id: EventId, caller: &Caller, took: Duration) {
        records::event_redelivered(&self.log, id, caller, took);
    }

    fn events_redelivered(&self, filter: &EventFilter, result: RedeliveredEvents, caller: &Caller, took: Duration) {
        records::events_redelivered(&self.log, filter, result, caller, took);
    }

    fn pruned(&self, pruned: &Pruned, took: Duration) {
        records::pruned(&self.log, pruned, took);
    }

    fn event_attempted(
        &self,
        pending: &PendingEvent,
        attempt: &EventAttempt,
        result: AttemptResult,
        pause: Option<Duration>,
    ) {
        self.metrics.event_attempted(pending, attempt, result);
        records::event_attempted(&self.log, pending, attempt, result, pause);
    }

    fn event_unreadable(&self, reason: &str) {
        records::event_unreadable(&self.log, reason);
    }

    fn stuck(&self, stats: &LedgerStats, now: DateTime<Utc>) {
        records::stuck(&self.log, stats, now);
    }

    fn task_failed(&self, task: &'static str, error: &(dyn Error + 'static), failures: u32) {
        records::task_failed(&self.log, task, error, failures);
    }

    fn failed(&self, subject: Subject<'_>, error: &(dyn Error + 'static), caller: &Caller, took: Duration) {
        records::failed(&self.log, subject, error, caller, took);
    }
}
