//! What a request leaves behind beside its answer: the steps in the log, and the figures. Each step once, here
//! and nowhere else; docs/logging.md lists them. Never a body, a key or anything about a customer.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use domain::{
    Cancellation, Content, Delivery, DeliveryId, KeyName, Notification, OrderId, Outcome, Payload, PaymentId,
    PaymentStatus, Registration, RequestId, Settlement,
};
use slog::{Drain as _, KV, Logger, Record, Serializer, debug, error, info, o, warn};
use usecases::{Caller, Registered, Replay};

use crate::authentication::Credential;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::routes::WEBHOOK;

/// What stands for the status of an answer that nobody waited for, as web servers have it.
const CALLER_GONE: &str = "499";

/// What stands for the route of a request whose address is none of the service's, or cannot be read.
pub(crate) const NO_ROUTE: &str = "none";

/// How much of an error's text is logged, in bytes: others' texts have no limit.
const ERROR_BYTES_MAX: usize = 4096;

/// How many of the notifications that a registration applies are logged one by one: without a bound they would push
/// other records out of the log's queue.
const APPLIED_LOGGED_MAX: usize = 100;

/// Writes down what happens in one request.
#[derive(Clone)]
pub(crate) struct Journal {
    log: Logger,
    metrics: Arc<Metrics>,
}

impl Journal {
    /// The journal of the request with this id.
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

    pub(crate) fn payload_valid(&self, notification: &Notification) {
        if self.log.is_debug_enabled() {
            debug!(self.log, "payload valid"; Said(&Content::Notification(notification.clone())));
        }
    }

    /// What decides nothing was not what it should be: the payment is settled without it.
    pub(crate) fn fields_left_out(&self, notification: &Notification, reason: &str) {
        let Notification { payment_id, order_id, .. } = notification;
        warn!(self.log, "fields left out that decide nothing"; Named(Some(payment_id), Some(order_id)), "reason" => reason);
    }

    pub(crate) fn payload_invalid(&self, payload: &Payload, reason: &str) {
        warn!(self.log, "payload invalid"; Said(&Content::Fragments(payload.clone())), "reason" => reason);
    }

    /// A notification has been settled, or kept where it could not be.
    pub(crate) fn settled(&self, settlement: &Settlement, took: Option<Duration>) {
        let Settlement { delivery, registered_method, pay: _ } = settlement;
        self.metrics.delivered(delivery);
        if self.log.is_debug_enabled() {
            self.steps(settlement);
        }
        if let (Some(registered), Content::Notification(Notification { method: Some(reported), .. })) =
            (registered_method.map(<&str>::from), &delivery.content)
            && registered != reported.as_str()
        {
            warn!(self.log, "the payment method differs; the registered one counts"; Entry(delivery, None),
                "registered_method" => registered);
        }
        let entry = Entry(delivery, took);
        match delivery.outcome {
            Outcome::Unapplied(_) => warn!(self.log, "the money arrived but the order could not be paid"; entry),
            Outcome::Parked => warn!(self.log, "notification parked until its payment is registered"; entry),
            Outcome::Rejected(_) => warn!(self.log, "notification contradicts the registered payment"; entry),
            Outcome::Invalid(_) => warn!(self.log, "notification could not be understood"; entry),
            _ => info!(self.log, "notification settled"; entry),
        }
    }

    /// What was done on the way, in its order.
    fn steps(&self, settlement: &Settlement) {
        let Settlement { delivery, registered_method, pay } = settlement;
        let log = self.log.new(o!("delivery_id" => delivery.receipt.delivery_id.to_string()));
        let named = Named::from(&delivery.content);
        let (Some(method), Some(previous), Some(new)) =
            (registered_method, delivery.previous_status, delivery.new_status)
        else {
            if delivery.outcome == Outcome::Parked {
                debug!(log, "payment not found"; named);
            }
            return;
        };
        debug!(log, "payment found"; named, "previous_status" => <&str>::from(previous),
            "registered_method" => <&str>::from(method));
        let finding = match delivery.outcome {
            Outcome::Rejected(_) => return,
            Outcome::Duplicate => "duplicate",
            Outcome::Ignored => "backwards",
            _ => "new",
        };
        debug!(log, "idempotency checked"; "finding" => finding, named);
        if previous != new {
            debug!(log, "payment status updated"; named, Moved(previous, new));
            if method.keeps_record() {
                debug!(log, "method record updated"; named, "registered_method" => <&str>::from(method),
                    Moved(previous, new));
            }
        }
        let Some(pay) = pay else { return };
        debug!(log, "payment.pay() completed the payment"; named);
        match pay {
            Ok(()) => debug!(log, "order.pay() paid the order"; named),
            Err(obstacle) => {
                debug!(log, "order.pay() did not pay the order"; named, "reason" => <&str>::from(obstacle));
            }
        }
    }

    /// A callback, a registration, a cancellation or a replay could not be carried out. The log learns why, and the
    /// answer will not repeat it.
    pub(crate) fn failed(
        &self,
        payment_id: Option<&PaymentId>,
        order_id: Option<&OrderId>,
        problem: Problem,
        took: Duration,
    ) -> Problem {
        let error = problem.cause.as_deref().map_or_else(|| problem.detail.to_string(), chain);
        error!(self.log, "not carried out"; Named(payment_id, order_id), "error" => error, "duration_ms" => millis(took));
        problem.without_cause()
    }

    /// A registration, and what came of the notifications that had waited for it.
    pub(crate) fn registered(
        &self,
        registration: &Registration,
        registered: &Registered,
        caller: &Caller,
        took: Duration,
    ) {
        info!(self.log, "registration"; "payment_id" => registration.payment_id.as_str(),
            "order_id" => registration.order_id.as_str(), "payment_method" => <&str>::from(registration.method),
            "outcome" => <&str>::from(registered.outcome), "applied" => registered.applied.len(), By(caller),
            "duration_ms" => millis(took));
        let (logged, others) = registered.applied.split_at(registered.applied.len().min(APPLIED_LOGGED_MAX));
        for settlement in logged {
            self.settled(settlement, None);
        }
        for Settlement { delivery, .. } in others {
            self.metrics.delivered(delivery);
        }
        if !others.is_empty() {
            warn!(self.log, "more notifications were applied than are logged; the audit trail shows all of them";
                "payment_id" => registration.payment_id.as_str(), "count" => others.len());
        }
    }

    pub(crate) fn cancelled(&self, id: &OrderId, caller: &Caller, cancellation: Cancellation, took: Duration) {
        info!(self.log, "cancellation"; "order_id" => id.as_str(), "outcome" => <&str>::from(cancellation),
            By(caller), "duration_ms" => millis(took));
    }

    /// A stored delivery was applied again, or only tried.
    pub(crate) fn replayed(&self, replayed: DeliveryId, replay: &Replay, caller: &Caller, took: Duration) {
        let delivery = &replay.settlement.delivery;
        let outcome = <&str>::from(delivery.outcome.kind());
        if replay.dry_run {
            info!(self.log, "replay tried; nothing changed"; "replayed_delivery_id" => %replayed,
                Said(&delivery.content), "outcome" => outcome, By(caller), "duration_ms" => millis(took));
        } else {
            info!(self.log, "replay"; "replayed_delivery_id" => %replayed, Said(&delivery.content),
                "outcome" => outcome, By(caller), "duration_ms" => millis(took));
            self.settled(&replay.settlement, None);
        }
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
            // Somebody asks for these every few seconds.
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

// slog goes through keys from the last to the first, and so do these.

impl KV for &Answer<'_> {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let Answer { route, method, status, problem, took } = self;
        serializer.emit_f64("duration_ms", millis(*took))?;
        if let Some(problem) = problem {
            if let Some(cause) = &problem.cause {
                serializer.emit_str("error", &chain(&**cause))?;
            }
            serializer.emit_str("reason", &problem.reason())?;
            serializer.emit_str("code", problem.kind.code)?;
        }
        serializer.emit_u16("http_status", status.as_u16())?;
        serializer.emit_str("route", route)?;
        serializer.emit_str("method", method.as_str())
    }
}

/// Who has asked for it.
struct By<'a>(&'a Caller);

impl KV for By<'_> {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        match &self.0.key_name {
            Some(name) => serializer.emit_str("key_name", name.as_str()),
            None => Ok(()),
        }
    }
}

/// Which payment and order are meant.
#[derive(Clone, Copy)]
struct Named<'a>(Option<&'a PaymentId>, Option<&'a OrderId>);

impl<'a> From<&'a Content> for Named<'a> {
    fn from(content: &'a Content) -> Self {
        Self(content.payment_id(), content.order_id())
    }
}

impl KV for Named<'_> {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let Self(payment_id, order_id) = self;
        if let Some(id) = order_id {
            serializer.emit_str("order_id", id.as_str())?;
        }
        match payment_id {
            Some(id) => serializer.emit_str("payment_id", id.as_str()),
            None => Ok(()),
        }
    }
}

/// What a notification says, as far as it could be read. The provider's own data are not among it.
#[derive(Clone, Copy)]
struct Said<'a>(&'a Content);

impl KV for Said<'_> {
    fn serialize(&self, record: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let (status, event, method, amount, currency) = match self.0 {
            Content::Notification(Notification { report, method, amount, currency, .. }) => {
                let (status, event) = report.words();
                (Some(status), Some(event), method, *amount, *currency)
            }
            Content::Fragments(Payload { status, event, method, amount, currency, .. }) => {
                (*status, *event, method, *amount, *currency)
            }
        };
        if let Some(currency) = currency {
            serializer.emit_str("currency", currency.code())?;
        }
        if let Some(amount) = amount {
            serializer.emit_arguments("amount", &format_args!("{amount}"))?;
        }
        if let Some(method) = method {
            serializer.emit_str("payment_method", method.as_str())?;
        }
        if let Some(event) = event {
            serializer.emit_str("event", event.into())?;
        }
        if let Some(status) = status {
            serializer.emit_str("status", status.into())?;
        }
        Named::from(self.0).serialize(record, serializer)
    }
}

/// How a payment's status has changed.
#[derive(Clone, Copy)]
struct Moved(PaymentStatus, PaymentStatus);

impl KV for Moved {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        serializer.emit_str("new_status", self.1.into())?;
        serializer.emit_str("previous_status", self.0.into())
    }
}

/// An entry of the audit trail, and how long it took to make.
#[derive(Clone, Copy)]
struct Entry<'a>(&'a Delivery, Option<Duration>);

impl KV for Entry<'_> {
    fn serialize(&self, record: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let Self(Delivery { receipt, content, outcome, previous_status, new_status }, took) = self;
        if let Some(took) = took {
            serializer.emit_f64("duration_ms", millis(*took))?;
        }
        if let Some(name) = &receipt.key_name {
            serializer.emit_str("key_name", name.as_str())?;
        }
        if let (Some(previous), Some(new)) = (previous_status, new_status) {
            Moved(*previous, *new).serialize(record, serializer)?;
        }
        if let Some(reason) = outcome.reason() {
            serializer.emit_str("reason", &reason)?;
        }
        serializer.emit_str("outcome", outcome.kind().into())?;
        Said(content).serialize(record, serializer)?;
        serializer.emit_str("source", receipt.source.into())?;
        serializer.emit_arguments("delivery_id", &format_args!("{}", receipt.delivery_id))
    }
}

/// To the microsecond; what lies below is noise.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// An error with all its causes.
fn chain(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
    text
}
