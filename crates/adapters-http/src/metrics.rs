//! The figures of the service, for Prometheus. What happens is counted as it happens; how things stand is
//! looked up when somebody asks.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{Delivery, OutcomeKind, Source};
use ports::{Clock, Connections, LedgerError, LedgerFigures};
use prometheus::core::Collector;
#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};
use strum::VariantArray as _;
use usecases::CommitObserver;

/// The upper bounds of durations, in seconds. The upstream hangs up after 5.
const SECONDS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// The upper bounds of the sizes of batches, in callbacks.
const CALLBACKS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// How many log records went somewhere, or did not.
#[derive(Debug, Clone, Copy)]
pub struct LogRecords {
    /// Where they were to go.
    pub destination: &'static str,
    /// Whether they came there.
    pub result: &'static str,
    /// How many, since the start.
    pub count: u64,
}

/// What is counted and measured.
pub struct Metrics {
    clock: Arc<dyn Clock>,
    registry: Registry,
    requests: IntCounterVec,
    connections_closed_for_room: IntCounter,
    deliveries: IntCounterVec,
    whole: Histogram,
    queue: Histogram,
    commit: Histogram,
    batch_size: Histogram,
    commits: IntCounterVec,
    log_records: Box<dyn Fn() -> Vec<LogRecords> + Send + Sync>,
    key_last_used: GaugeVec,
}

impl Metrics {
    /// Nothing has happened yet. What can happen at all stands there as 0, so that the first time is seen.
    #[must_use]
    pub fn new(
        clock: Arc<dyn Clock>,
        version: &str,
        commit: &str,
        log_records: impl Fn() -> Vec<LogRecords> + Send + Sync + 'static,
    ) -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let duration = HistogramOpts::new(
            "payment_callback_duration_seconds",
            "How long callbacks took: whole (from request to answer), queue (waiting), commit (one transaction).",
        );
        let duration = HistogramVec::new(duration.buckets(SECONDS.into()), &["stage"]);
        let duration = registered(&registry, duration);
        let batch_size =
            HistogramOpts::new("payment_callback_batch_size", "Callbacks that were settled in one transaction.");
        let build_info = Opts::new("payment_callback_build_info", "Which program this is; always 1.");
        let build_info = registered(&registry, GaugeVec::new(build_info, &["version", "commit"]));
        build_info.with_label_values(&[version, commit]).set(1.0);
        let key_last_used = Opts::new(
            "payment_callback_key_last_used_timestamp_seconds",
            "When a caller last bore this key; 0 if not since the start.",
        );
        let metrics = Self {
            requests: counter(
                "payment_callback_http_requests_total",
                "Requests that were answered.",
                &["route", "method", "status"],
            ),
            connections_closed_for_room: registered(
                &registry,
                IntCounter::new(
                    "payment_callback_http_connections_closed_for_room_total",
                    "Idle connections of clients that were closed because too many were open.",
                ),
            ),
            deliveries: counter(
                "payment_callback_deliveries_total",
                "Notifications that reached the ledger, by who brought them and what became of them.",
                &["source", "outcome"],
            ),
            whole: duration.with_label_values(&["whole"]),
            queue: duration.with_label_values(&["queue"]),
            commit: duration.with_label_values(&["commit"]),
            batch_size: registered(&registry, Histogram::with_opts(batch_size.buckets(CALLBACKS.into()))),
            commits: counter(
                "payment_callback_commits_total",
                "Transactions that settle callbacks, by how they ended.",
                &["result"],
            ),
            log_records: Box::new(log_records),
            key_last_used: registered(&registry, GaugeVec::new(key_last_used, &["key"])),
            clock,
            registry,
        };
        #[cfg(target_os = "linux")]
        metrics.registry.register(Box::new(ProcessCollector::for_self())).expect("the process is registered once");
        for source in Source::VARIANTS {
            for outcome in OutcomeKind::VARIANTS {
                metrics.deliveries.with_label_values(&[<&str>::from(source), outcome.into()]);
            }
        }
        for result in ["stored", "unavailable", "hindered", "outdated", "corrupt", "refused"] {
            metrics.commits.with_label_values(&[result]);
        }
        metrics
    }

    /// `status` is what was answered.
    pub(crate) fn answered(&self, route: &str, method: &str, status: &str) {
        // Anybody can make up methods.
        let method = match method {
            "GET" | "POST" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" => method,
            _ => "other",
        };
        self.requests.with_label_values(&[route, method, status]).inc();
    }

    /// An idle connection has been told to end because too many are open.
    pub(crate) fn connection_closed_for_room(&self) {
        self.connections_closed_for_room.inc();
    }

    /// A callback has been answered after so long.
    pub(crate) fn callback_answered(&self, took: Duration) {
        self.whole.observe(took.as_secs_f64());
    }

    pub(crate) fn delivered(&self, delivery: &Delivery) {
        let source = <&str>::from(delivery.receipt.source);
        self.deliveries.with_label_values(&[source, delivery.outcome.kind().into()]).inc();
    }

    /// This key may be used from now on.
    pub(crate) fn expect_key(&self, label: &str) {
        self.key_last_used.with_label_values(&[label]);
    }

    pub(crate) fn key_used(&self, label: &str) {
        self.key_last_used.with_label_values(&[label]).set(unix_seconds(self.clock.now()));
    }

    /// Everything, as Prometheus reads it.
    ///
    /// # Errors
    /// A figure cannot be written.
    pub(crate) fn render(&self, standing: &Standing) -> prometheus::Result<String> {
        let mut families = self.registry.gather();
        families.push(log_records_family(&(self.log_records)()));
        families.extend(standing.families(self.clock.now()));
        families.sort_by(|one, other| one.name().cmp(other.name()));
        TextEncoder::new().encode_to_string(&families)
    }
}

impl CommitObserver for Metrics {
    fn taken(&self, waited: Duration) {
        self.queue.observe(waited.as_secs_f64());
    }

    fn committed(&self, callbacks: usize, took: Duration, result: Result<(), &LedgerError>) {
        let result = match result {
            Ok(()) => "stored",
            Err(LedgerError::Unavailable(_)) => "unavailable",
            Err(LedgerError::Hindered(_) | LedgerError::Held { .. }) => "hindered",
            Err(LedgerError::Outdated { .. } | LedgerError::Newer { .. }) => "outdated",
            Err(LedgerError::Corrupt { .. }) => "corrupt",
            Err(LedgerError::Refused(_)) => "refused",
        };
        self.commits.with_label_values(&[result]).inc();
        self.commit.observe(took.as_secs_f64());
        if result == "stored" {
            self.batch_size.observe(callbacks as f64);
        }
    }
}

/// How things stand when somebody asks.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) requests_in_flight: usize,
    pub(crate) http_connections: usize,
    pub(crate) http_connections_limit: usize,
    pub(crate) queue_depth: usize,
    pub(crate) queue_limit: usize,
    pub(crate) connections: Connections,
    /// `None` if the ledger did not say.
    pub(crate) ledger: Option<LedgerFigures>,
}

impl Standing {
    fn families(&self, now: DateTime<Utc>) -> Vec<MetricFamily> {
        let Self {
            requests_in_flight,
            http_connections,
            http_connections_limit,
            queue_depth,
            queue_limit,
            connections,
            ledger,
        } = self;
        let mut families = vec![
            count(
                "payment_callback_http_requests_in_flight",
                "Requests that are being worked on.",
                *requests_in_flight,
            ),
            count("payment_callback_http_connections", "Open connections of clients.", *http_connections),
            count(
                "payment_callback_http_connections_limit",
                "Connections of clients at most; beyond it the longest idle one is closed.",
                *http_connections_limit,
            ),
            count("payment_callback_intake_queue_depth", "Callbacks that wait to be settled.", *queue_depth),
            count("payment_callback_intake_queue_limit", "Callbacks that may wait; beyond it 503.", *queue_limit),
            connections_family(*connections),
            gauge(
                "payment_callback_database_connections_limit",
                "Connections to the database at most.",
                connections.limit.into(),
            ),
            gauge(
                "payment_callback_database_up",
                "Whether the ledger could be asked for its figures; those are absent otherwise.",
                if ledger.is_some() { 1.0 } else { 0.0 },
            ),
        ];
        families.extend(ledger.iter().flat_map(|figures| ledger_families(figures, now)));
        families
    }
}

fn ledger_families(figures: &LedgerFigures, now: DateTime<Utc>) -> Vec<MetricFamily> {
    let LedgerFigures {
        open_payments,
        oldest_open_payment_at,
        parked_notifications,
        oldest_parked_notification_at,
        unapplied_payments,
        last_callback_at,
    } = figures;
    let count = |name, help, count: &i64| gauge(name, help, *count as f64);
    let age = |at: &Option<DateTime<Utc>>| at.map_or(0.0, |at| (unix_seconds(now) - unix_seconds(at)).max(0.0));
    vec![
        count("payment_callback_open_payments", "Payments pending or processing, up to 10000.", open_payments),
        gauge(
            "payment_callback_oldest_open_payment_seconds",
            "Since when the oldest open payment is registered; 0 if there is none.",
            age(oldest_open_payment_at),
        ),
        count(
            "payment_callback_parked_notifications",
            "Notifications that wait for their payment to be registered, up to 10000.",
            parked_notifications,
        ),
        gauge(
            "payment_callback_oldest_parked_notification_seconds",
            "How long the oldest parked notification has waited; 0 if there is none.",
            age(oldest_parked_notification_at),
        ),
        count(
            "payment_callback_unapplied_payments",
            "Payments whose money arrived, was not refunded, and could not pay their order, up to 1000.",
            unapplied_payments,
        ),
        gauge(
            "payment_callback_last_callback_timestamp_seconds",
            "When the newest authenticated callback came, to whichever replica; 0 if none did.",
            last_callback_at.map_or(0.0, unix_seconds),
        ),
    ]
}

fn log_records_family(log_records: &[LogRecords]) -> MetricFamily {
    let opts =
        Opts::new("payment_callback_log_records_total", "Log records, by where they went and whether they came there.");
    let counters = IntCounterVec::new(opts, &["destination", "result"]).expect("a valid metric");
    for LogRecords { destination, result, count } in log_records {
        counters.with_label_values(&[destination, result]).inc_by(*count);
    }
    only_family(&counters)
}

fn connections_family(connections: Connections) -> MetricFamily {
    let opts = Opts::new("payment_callback_database_connections", "Open connections to the database.");
    let gauges = GaugeVec::new(opts, &["state"]).expect("a valid metric");
    let Connections { busy, idle, limit: _ } = connections;
    gauges.with_label_values(&["busy"]).set(busy.into());
    gauges.with_label_values(&["idle"]).set(idle.into());
    only_family(&gauges)
}

fn count(name: &str, help: &str, count: usize) -> MetricFamily {
    gauge(name, help, count as f64)
}

fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    let gauge = Gauge::new(name, help).expect("a valid metric");
    gauge.set(value);
    only_family(&gauge)
}

fn only_family(collector: &impl Collector) -> MetricFamily {
    collector.collect().pop().expect("a metric is of one family")
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("a valid metric");
    registry.register(Box::new(metric.clone())).expect("a name of its own");
    metric
}

fn unix_seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp_micros() as f64 / 1e6
}
