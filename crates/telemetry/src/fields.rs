//! What log records consist of. Never a body, a key or anything about a customer.

use std::time::Duration;

use chrono::SecondsFormat;
use domain::{Content, Delivery, EventAttempt, Notification, Payload, PaymentStatus};
use ports::{EventFilter, PendingEvent};
use slog::{KV, Record, Serializer};
use usecases::{Caller, Subject};

// slog goes through keys from the last to the first, and so do these.

/// Who asked for it.
pub(crate) struct By<'a>(pub(crate) &'a Caller);

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
pub(crate) struct Named<'a>(pub(crate) Subject<'a>);

impl<'a> From<&'a Content> for Named<'a> {
    fn from(content: &'a Content) -> Self {
        Self(Subject { payment_id: content.payment_id(), order_id: content.order_id() })
    }
}

impl KV for Named<'_> {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let Subject { payment_id, order_id } = self.0;
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
pub(crate) struct Said<'a>(pub(crate) &'a Content);

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

/// Which events are meant.
#[derive(Clone, Copy)]
pub(crate) struct Matching<'a>(pub(crate) &'a EventFilter);

impl KV for Matching<'_> {
    fn serialize(&self, record: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let EventFilter { state, order, payment, since, before: _, limit: _ } = self.0;
        if let Some(since) = since {
            serializer.emit_str("since", &since.to_rfc3339_opts(SecondsFormat::Micros, true))?;
        }
        if let Some(state) = state {
            serializer.emit_str("state", state.into())?;
        }
        Named(Subject { payment_id: payment.as_ref(), order_id: order.as_ref() }).serialize(record, serializer)
    }
}

/// How a payment's status has changed.
#[derive(Clone, Copy)]
pub(crate) struct Moved(pub(crate) PaymentStatus, pub(crate) PaymentStatus);

impl KV for Moved {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        serializer.emit_str("new_status", self.1.into())?;
        serializer.emit_str("previous_status", self.0.into())
    }
}

/// An entry of the audit trail, and how long it took to make.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a>(pub(crate) &'a Delivery, pub(crate) Option<Duration>);

impl KV for Entry<'_> {
    fn serialize(&self, record: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let Self(Delivery { provenance, content, outcome, previous_status, new_status }, took) = self;
        if let Some(took) = took {
            serializer.emit_f64("duration_ms", millis(*took))?;
        }
        if let Some(name) = &provenance.key_name {
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
        serializer.emit_str("source", provenance.source.into())?;
        serializer.emit_arguments("delivery_id", &format_args!("{}", provenance.delivery_id))
    }
}

/// An attempt to tell the portal of an event.
#[derive(Clone, Copy)]
pub(crate) struct Attempted<'a>(pub(crate) &'a PendingEvent, pub(crate) &'a EventAttempt);

impl KV for Attempted<'_> {
    fn serialize(&self, record: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let Self(PendingEvent { event, failures, .. }, EventAttempt { attempted_at: _, duration, status, error }) =
            self;
        serializer.emit_f64("duration_ms", millis(*duration))?;
        if let Some(error) = error {
            serializer.emit_str("error", error)?;
        }
        if let Some(status) = status {
            serializer.emit_u16("http_status", *status)?;
        }
        serializer.emit_u32("attempt", failures + 1)?;
        Named(Subject { payment_id: Some(&event.payment_id), order_id: Some(&event.order_id) })
            .serialize(record, serializer)?;
        serializer.emit_str("type", event.kind.into())?;
        serializer.emit_arguments("event_id", &format_args!("{}", event.id))
    }
}

/// Milliseconds, to the microsecond; what lies below is noise.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
