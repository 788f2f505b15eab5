//! Requests, connections and keys, for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use ports::Clock;
use prometheus::core::Collector;
use prometheus::{GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::connections::OpenConnections;

/// What is counted and measured of requests.
pub(crate) struct Metrics {
    registry: Registry,
    clock: Arc<dyn Clock>,
    requests: IntCounterVec,
    requests_in_flight: IntGauge,
    connections: IntGauge,
    connections_limit: IntGauge,
    connections_closed_for_room: IntCounter,
    callback_duration: Histogram,
    key_last_used: GaugeVec,
}

impl Metrics {
    /// Registers them. `callback_duration` is observed for each callback that is answered, in seconds.
    pub(crate) fn new(registry: &Registry, callback_duration: Histogram, clock: Arc<dyn Clock>) -> Self {
        let gauge = |name, help| registered(registry, IntGauge::new(name, help));
        let requests = Opts::new("payment_callback_http_requests_total", "Requests that were answered.");
        let key_last_used = Opts::new(
            "payment_callback_key_last_used_timestamp_seconds",
            "When a caller last used this key; 0 if not since the start.",
        );
        Self {
            requests: registered(registry, IntCounterVec::new(requests, &["route", "method", "status"])),
            requests_in_flight: gauge("payment_callback_http_requests_in_flight", "Requests that are being worked on."),
            connections: gauge("payment_callback_http_connections", "Open connections of clients."),
            connections_limit: gauge(
                "payment_callback_http_connections_limit",
                "Connections of clients at most; beyond it the longest idle one is closed.",
            ),
            connections_closed_for_room: registered(
                registry,
                IntCounter::new(
                    "payment_callback_http_connections_closed_for_room_total",
                    "Idle connections of clients that were closed because too many were open.",
                ),
            ),
            callback_duration,
            key_last_used: registered(registry, GaugeVec::new(key_last_used, &["key"])),
            clock,
            registry: registry.clone(),
        }
    }

    /// `status` is what was answered.
    pub(crate) fn answered(&self, route: &str, method: &str, status: &str) {
        // A client can make up methods.
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
        self.callback_duration.observe(took.as_secs_f64());
    }

    /// This key may be used from now on.
    pub(crate) fn expect_key(&self, label: &str) {
        self.key_last_used.with_label_values(&[label]);
    }

    pub(crate) fn key_used(&self, label: &str) {
        let now = self.clock.now().timestamp_micros() as f64 / 1e6;
        self.key_last_used.with_label_values(&[label]).set(now);
    }

    /// All metrics of the registry, as Prometheus reads them.
    ///
    /// # Errors
    /// A metric cannot be written.
    pub(crate) fn render(&self, open: &OpenConnections) -> prometheus::Result<String> {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.requests_in_flight.set(count(open.requests_in_flight()));
        self.connections.set(count(open.count()));
        self.connections_limit.set(count(open.limit()));
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("a valid metric");
    registry.register(Box::new(metric.clone())).expect("metrics that are registered once");
    metric
}
