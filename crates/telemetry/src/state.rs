//! How things are, looked up when the registry is gathered.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::EventState;
use ports::{Clock, Connections, LedgerStats, Upkeep};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, GaugeVec, IntCounterVec, Opts, Registry};
use usecases::{BackgroundStatus, GroupCommit, StatsCache, TaskStatus};

/// How many log records went somewhere, or did not.
#[derive(Debug, Clone, Copy)]
pub struct LogRecordCount {
    /// Where they were to go.
    pub destination: &'static str,
    /// Whether they arrived there.
    pub result: &'static str,
    /// How many, since the start.
    pub count: u64,
}

/// What is looked up when metrics are collected.
pub struct State {
    /// The queue of callbacks.
    pub intake: Arc<GroupCommit>,
    /// The connections to the database.
    pub upkeep: Arc<dyn Upkeep>,
    /// The store's stats, as they were last refreshed.
    pub stats: Arc<StatsCache>,
    /// The background tasks.
    pub background: Arc<BackgroundStatus>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The log records.
    pub log_records: Box<dyn Fn() -> Vec<LogRecordCount> + Send + Sync>,
}

impl State {
    /// Registers gauges of these.
    ///
    /// # Panics
    /// If the registry has them already.
    pub fn register(self, registry: &Registry) {
        // The registry tells collectors apart by one of their metrics.
        let name = "payment_callback_intake_queue_depth".to_owned();
        let description = Desc::new(name, "Callbacks that wait to be settled.".to_owned(), Vec::new(), [].into());
        let collector = StateCollector { state: self, description: description.expect("a valid metric") };
        registry.register(Box::new(collector)).expect("metrics that are registered once");
    }
}

struct StateCollector {
    state: State,
    description: Desc,
}

impl Collector for StateCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let State { intake, upkeep, stats, background, clock, log_records } = &self.state;
        let connections = upkeep.connections();
        let stats = stats.latest();
        let mut families = vec![
            gauge("payment_callback_intake_queue_depth", "Callbacks that wait to be settled.", intake.depth() as f64),
            gauge(
                "payment_callback_intake_queue_limit",
                "Callbacks that may wait; beyond it 503.",
                intake.queue_max() as f64,
            ),
            connections_family(connections),
            gauge(
                "payment_callback_database_connections_limit",
                "Connections to the database at most.",
                connections.limit.into(),
            ),
            gauge(
                "payment_callback_database_up",
                "Whether the store could be asked for its stats; those are absent otherwise.",
                if stats.is_some() { 1.0 } else { 0.0 },
            ),
            log_records_family(&log_records()),
        ];
        families.extend(task_families(background));
        families.extend(stats.iter().flat_map(|stats| stats_families(stats, clock.now())));
        families
    }
}

fn stats_families(stats: &LedgerStats, now: DateTime<Utc>) -> Vec<MetricFamily> {
    let LedgerStats {
        open_payments,
        oldest_open_payment_at,
        parked_notifications,
        oldest_parked_notification_at,
        unapplied_payments,
        pending_events,
        oldest_pending_event_at,
        dead_events,
        last_callback_at,
    } = stats;
    let count = |name, help, count: &i64| gauge(name, help, *count as f64);
    let age = |at: &Option<DateTime<Utc>>| at.map_or(0.0, |at| (unix_seconds(now) - unix_seconds(at)).max(0.0));
    vec![
        count("payment_callback_open_payments", "Payments pending or processing, up to 10000.", open_payments),
        gauge(
            "payment_callback_oldest_open_payment_seconds",
            "Age of the oldest open payment; 0 if there is none.",
            age(oldest_open_payment_at),
        ),
        count(
            "payment_callback_parked_notifications",
            "Notifications that wait for their payment to be registered, up to 10000.",
            parked_notifications,
        ),
        gauge(
            "payment_callback_oldest_parked_notification_seconds",
            "Age of the oldest parked notification; 0 if there is none.",
            age(oldest_parked_notification_at),
        ),
        count(
            "payment_callback_unapplied_payments",
            "Payments whose money arrived, was not refunded, and could not pay their order, up to 1000.",
            unapplied_payments,
        ),
        events_family(*pending_events, *dead_events),
        gauge(
            "payment_callback_oldest_pending_event_seconds",
            "Age of the oldest pending event, among those of the 1000 oldest orders with one; 0 if there is none.",
            age(oldest_pending_event_at),
        ),
        gauge(
            "payment_callback_last_callback_timestamp_seconds",
            "When the newest authenticated callback came, to whichever replica; 0 if none did.",
            last_callback_at.map_or(0.0, unix_seconds),
        ),
    ]
}

fn events_family(pending: i64, dead: i64) -> MetricFamily {
    let help = "Events that the portal was not told: pending (to be sent), dead (given up); each up to 10000.";
    let gauges = GaugeVec::new(Opts::new("payment_callback_events", help), &["state"]).expect("a valid metric");
    for (state, count) in [(EventState::Pending, pending), (EventState::Dead, dead)] {
        gauges.with_label_values(&[<&str>::from(state)]).set(count as f64);
    }
    only_family(&gauges)
}

fn task_families(background: &BackgroundStatus) -> [MetricFamily; 2] {
    let rounds =
        Opts::new("payment_callback_background_rounds_total", "Rounds of background tasks, by how they ended.");
    let rounds = IntCounterVec::new(rounds, &["task", "result"]).expect("a valid metric");
    let last_success = Opts::new(
        "payment_callback_background_last_success_timestamp_seconds",
        "When this replica last did a round of the background task; 0 if not since the start.",
    );
    let last_success = GaugeVec::new(last_success, &["task"]).expect("a valid metric");
    for (task, TaskStatus { succeeded, failed, last_success_at }) in background.all() {
        rounds.with_label_values(&[task, "done"]).inc_by(succeeded);
        rounds.with_label_values(&[task, "failed"]).inc_by(failed);
        last_success.with_label_values(&[task]).set(last_success_at.map_or(0.0, unix_seconds));
    }
    [only_family(&rounds), only_family(&last_success)]
}

fn log_records_family(counts: &[LogRecordCount]) -> MetricFamily {
    let opts =
        Opts::new("payment_callback_log_records_total", "Log records, by where they went and whether they arrived.");
    let counters = IntCounterVec::new(opts, &["destination", "result"]).expect("a valid metric");
    for LogRecordCount { destination, result, count } in counts {
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

fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    let gauge = Gauge::new(name, help).expect("a valid metric");
    gauge.set(value);
    only_family(&gauge)
}

fn only_family(collector: &impl Collector) -> MetricFamily {
    collector.collect().pop().expect("a metric is of one family")
}

pub(crate) fn registered<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("a valid metric");
    registry.register(Box::new(metric.clone())).expect("metrics that are registered once");
    metric
}

fn unix_seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp_micros() as f64 / 1e6
}
