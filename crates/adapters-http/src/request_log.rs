//! What a request leaves behind beside its answer, in the log and in the metrics; docs/logging.md lists the records.
//! What the use cases did is told to their observer. Never a body, a key or anything about a customer.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use domain::{KeyName, Notification, RequestId};
use ports::error_chain;
use slog::{KV, Logger, Record, Serializer, debug, error, info, o, warn};

use crate::credential::Credential;
use crate::metrics::Metrics;
use crate::paths::WEBHOOK;
use crate::problem::Problem;

/// nginx's status for a client that closed the connection.
const CALLER_GONE: &str = "499";

/// The route of a request whose address is none of the service's, or cannot be read.
pub(crate) const NO_ROUTE: &str = "none";

/// The log of one request.
#[derive(Clone)]
pub(crate) struct RequestLog {
    log: Logger,
    metrics: Arc<Metrics>,
}

impl RequestLog {
    /// The log of the request with this id.
    pub(crate) fn new(log: &Logger, metrics: Arc<Metrics>, request_id: &RequestId) -> Self {
        Self { log: log.new(o!("correlation_id" => request_id.as_str().to_owned())), metrics }
    }

    pub(crate) fn callback_received(&self) {
        debug!(self.log, "callback received");
    }

    /// A caller has shown a key that is known, or has not.
    pub(crate) fn authentication(&self, result: Result<&Credential, Problem>) -> Result<KeyName, Problem> {
        let Credential { name, label } = result.inspect_err(|problem| self.not_authenticated(problem))?;
        self.metrics.key_used(label);
        debug!(self.log, "authentication succeeded"; "key_name" => name.as_str());
        Ok(name.clone())
    }

    pub(crate) fn not_authenticated(&self, problem: &Problem) {
        warn!(self.log, "authentication failed"; "reason" => &*problem.detail);
    }

    /// Fields that decide nothing were malformed: the payment is settled without them.
    pub(crate) fn fields_left_out(&self, notification: &Notification, reason: &str) {
        let Notification { payment_id, order_id, .. } = notification;
        warn!(self.log, "fields left out that decide nothing"; "payment_id" => payment_id.as_str(),
            "order_id" => order_id.as_str(), "reason" => reason);
    }

    /// What was answered. What the service could not do is an error; what it refused is a warning.
    pub(crate) fn answered(&self, answer: &Answer<'_>) {
        let Answer { route, method, status, .. } = *answer;
        self.metrics.answered(route, method.as_str(), status.as_str());
        if route == WEBHOOK && method == Method::POST && status != StatusCode::UNAUTHORIZED {
            self.metrics.callback_answered(answer.took);
        }
        if status.is_server_error() {
            error!(self.log, "answered"; answer);
        } else if status.is_client_error() {
            warn!(self.log, "answered"; answer);
        } else if route.starts_with("/api/") {
            info!(self.log, "answered"; answer);
        } else {
            // Probes ask for these every few seconds.
            debug!(self.log, "answered"; answer);
        }
    }

    /// A head that the HTTP library could not read, and answered itself with this status and nothing more.
    pub(crate) fn head_refused(log: &Logger, metrics: &Metrics, status: StatusCode, error: &dyn Error) {
        metrics.answered(NO_ROUTE, "unknown", status.as_str());
        warn!(log, "request refused: its head cannot be read"; "http_status" => status.as_u16(),
            "error" => error.to_string());
    }

    /// The caller has gone before there was an answer. What was begun is finished all the same.
    pub(crate) fn not_answered(&self, route: &str, method: &Method, took: Duration) {
        self.metrics.answered(route, method.as_str(), CALLER_GONE);
        warn!(self.log, "not answered: the caller has gone"; "method" => method.as_str(), "route" => route,
            "duration_ms" => millis(took));
    }
}

/// What was answered to a request.
pub(crate) struct Answer<'a> {
    pub(crate) route: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) status: StatusCode,
    pub(crate) problem: Option<&'a Problem>,
    pub(crate) took: Duration,
}

impl KV for &Answer<'_> {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let Answer { route, method, status, problem, took } = self;
        // From the last to the first, as slog goes through keys.
        serializer.emit_f64("duration_ms", millis(*took))?;
        if let Some(problem) = problem {
            if let Some(cause) = &problem.cause {
                serializer.emit_str("error", &error_chain(&**cause))?;
            }
            serializer.emit_str("reason", &problem.reason())?;
            serializer.emit_str("code", problem.kind.code())?;
        }
        serializer.emit_u16("http_status", status.as_u16())?;
        serializer.emit_str("route", route)?;
        serializer.emit_str("method", method.as_str())
    }
}

/// Milliseconds, to the microsecond; what lies below is noise.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
