//! What happens, counted as it happens. Every series starts at 0, so that `rate()` sees the first increment.

use std::time::Duration;

use domain::{Delivery, EventAttempt, OutcomeKind, Source};
use ports::{AttemptResult, LedgerError, PendingEvent};
#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::{GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use strum::VariantArray as _;

use crate::state::registered;

/// The upper bounds of durations, in seconds. The sender hangs up after 5 (neighbours.md).
const SECONDS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// The upper bounds of the time until the portal has acknowledged an event, in seconds: to the end of all attempts.
const EVENT_SECONDS: [f64; 14] =
    [0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 60.0, 300.0, 1800.0, 7200.0, 36_000.0, 172_800.0];

/// The upper bounds of the sizes of batches, in callbacks.
const CALLBACKS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// Counters and histograms of what use cases did.
pub struct Metrics {
    deliveries: IntCounterVec,
    duration: HistogramVec,
    queue: Histogram,
    commit: Histogram,
    batch_size: Histogram,
    commits: IntCounterVec,
    event_attempts: IntCounterVec,
    event_delivery: Histogram,
}

impl Metrics {
    /// Registers them, with those of the process and of this build.
    ///
    /// # Panics
    /// If the registry has them already.
    #[must_use]
    pub fn new(registry: &Registry, version: &str, commit: &str) -> Self {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let duration = HistogramOpts::new(
            "payment_callback_duration_seconds",
            "How long callbacks took: whole (from request to answer), queue (waiting), commit (one transaction).",
        );
        let duration = registered(registry, HistogramVec::new(duration.buckets(SECONDS.into()), &["stage"]));
        let batch_size =
            HistogramOpts::new("payment_callback_batch_size", "Callbacks that were settled in one transaction.");
        let event_delivery = HistogramOpts::new(
            "payment_callback_event_delivery_seconds",
            "How long it took from a callback to the portal's acknowledgement of its event.",
        );
        let build_info = Opts::new("payment_callback_build_info", "Which program this is; always 1.");
        let build_info = registered(registry, GaugeVec::new(build_info, &["version", "commit"]));
        build_info.with_label_values(&[version, commit]).set(1.0);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(ProcessCollector::for_self())).expect("metrics that are registered once");
        let metrics = Self {
            deliveries: counter(
                "payment_callback_deliveries_total",
                "Notifications that reached the ledger, by who brought them and what became of them.",
                &["source", "outcome"],
            ),
            queue: duration.with_label_values(&["queue"]),
            commit: duration.with_label_values(&["commit"]),
            duration,
            batch_size: registered(registry, Histogram::with_opts(batch_size.buckets(CALLBACKS.into()))),
            commits: counter(
                "payment_callback_commits_total",
                "Transactions that settle callbacks, by how they ended.",
                &["result"],
            ),
            event_attempts: counter(
                "payment_callback_event_attempts_total",
                "Attempts to tell the portal of an event: delivered, failed (it is tried again), dead (it is given up).",
                &["result"],
            ),
            event_delivery: registered(registry, Histogram::with_opts(event_delivery.buckets(EVENT_SECONDS.into()))),
        };
        for source in Source::VARIANTS {
            for outcome in OutcomeKind::VARIANTS {
                metrics.deliveries.with_label_values(&[<&str>::from(source), outcome.into()]);
            }
        }
        for result in [AttemptResult::Delivered, AttemptResult::Failed, AttemptResult::Dead] {
            metrics.event_attempts.with_label_values(&[attempt_label(result)]);
        }
        for result in ["stored", "unavailable", "contended", "outdated", "corrupt", "refused"] {
            metrics.commits.with_label_values(&[result]);
        }
        metrics
    }

    /// From the request of a callback to its answer: who answers observes it.
    #[must_use]
    pub fn whole_duration(&self) -> Histogram {
        self.duration.with_label_values(&["whole"])
    }

    pub(crate) fn delivered(&self, delivery: &Delivery) {
        let source = <&str>::from(delivery.provenance.source);
        self.deliveries.with_label_values(&[source, delivery.outcome.kind().into()]).inc();
    }

    pub(crate) fn event_attempted(&self, pending: &PendingEvent, attempt: &EventAttempt, result: AttemptResult) {
        self.event_attempts.with_label_values(&[attempt_label(result)]).inc();
        if result == AttemptResult::Delivered {
            let took = attempt.attempted_at - pending.event.created_at;
            self.event_delivery.observe(took.as_seconds_f64().max(0.0) + attempt.duration.as_secs_f64());
        }
    }

    pub(crate) fn dequeued(&self, waited: Duration) {
        self.queue.observe(waited.as_secs_f64());
    }

    pub(crate) fn committed(&self, callbacks: usize, took: Duration, result: Result<(), &LedgerError>) {
        self.commits.with_label_values(&[result_label(result)]).inc();
        self.commit.observe(took.as_secs_f64());
        if result.is_ok() {
            self.batch_size.observe(callbacks as f64);
        }
    }
}

fn attempt_label(result: AttemptResult) -> &'static str {
    match result {
        AttemptResult::Delivered => "delivered",
        AttemptResult::Failed => "failed",
        AttemptResult::Dead => "dead",
    }
}

fn result_label(result: Result<(), &LedgerError>) -> &'static str {
    match result {
        Ok(()) => "stored",
        Err(LedgerError::Unavailable(_)) => "unavailable",
        Err(LedgerError::Contended(_) | LedgerError::Held { .. }) => "contended",
        Err(LedgerError::Outdated { .. } | LedgerError::Newer { .. }) => "outdated",
        Err(LedgerError::Corrupt { .. }) => "corrupt",
        Err(LedgerError::Refused(_)) => "refused",
    }
}
