//! The log records, each written at one place; docs/logging.md lists them.

use std::error::Error;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{
    Cancellation, Content, Delivery, DeliveryId, EventAttempt, EventId, Notification, OrderId, Outcome, Registration,
    RegistrationOutcome, RequestId, Settlement,
};
use ports::{AttemptResult, EventFilter, LedgerStats, PendingEvent, error_chain};
use slog::{Drain as _, Logger, debug, error, info, o, warn};
use usecases::{Caller, ParsedBody, Pruned, RedeliveredEvents, Subject};

use crate::fields::{Attempted, By, Entry, Matching, Moved, Named, Said, millis};

/// How many of the notifications that a registration applies are logged one by one: without a bound they would push
/// other records out of the log's queue.
const APPLIED_LOGGED_MAX: usize = 100;

/// The log with the id of the request in every record, if there is one.
fn correlated(log: &Logger, request_id: Option<&RequestId>) -> Logger {
    match request_id {
        Some(id) => log.new(o!("correlation_id" => id.as_str().to_owned())),
        None => log.clone(),
    }
}

pub(crate) fn received(log: &Logger, body: &ParsedBody, caller: &Caller) {
    match body {
        ParsedBody::Valid(notification) if log.is_debug_enabled() => {
            let log = correlated(log, caller.request_id.as_ref());
            debug!(log, "payload valid"; Said(&Content::Notification(notification.clone())));
        }
        ParsedBody::Valid(_) => {}
        ParsedBody::Invalid { payload, reason } => {
            let log = correlated(log, caller.request_id.as_ref());
            warn!(log, "payload invalid"; Said(&Content::Fragments(payload.clone())), "reason" => reason);
        }
    }
}

/// A notification has been settled, or kept where it could not be.
pub(crate) fn settled(log: &Logger, settlement: &Settlement, took: Option<Duration>) {
    let Settlement { delivery, registered_method, pay: _, events: _ } = settlement;
    let log = correlated(log, delivery.provenance.request_id.as_ref());
    if log.is_debug_enabled() {
        steps(&log, settlement);
    }
    if let (Some(registered), Content::Notification(Notification { method: Some(reported), .. })) =
        (registered_method.map(<&str>::from), &delivery.content)
        && registered != reported.as_str()
    {
        warn!(log, "the payment method differs; the registered one counts"; Entry(delivery, None),
            "registered_method" => registered);
    }
    let entry = Entry(delivery, took);
    match delivery.outcome {
        Outcome::Unapplied(_) => warn!(log, "the money arrived but the order could not be paid"; entry),
        Outcome::Parked => warn!(log, "notification parked until its payment is registered"; entry),
        Outcome::Rejected(_) => warn!(log, "notification contradicts the registered payment"; entry),
        Outcome::Invalid(_) => warn!(log, "notification could not be understood"; entry),
        Outcome::Processing
        | Outcome::Failed
        | Outcome::Cancelled
        | Outcome::Completed
        | Outcome::Refunded
        | Outcome::PartiallyRefunded
        | Outcome::Duplicate
        | Outcome::Ignored => info!(log, "notification settled"; entry),
    }
}

/// What was done on the way, in its order.
fn steps(log: &Logger, settlement: &Settlement) {
    let Settlement { delivery, registered_method, pay, events: _ } = settlement;
    let log = log.new(o!("delivery_id" => delivery.provenance.delivery_id.to_string()));
    let named = Named::from(&delivery.content);
    let (Some(method), Some(previous), Some(new)) = (registered_method, delivery.previous_status, delivery.new_status)
    else {
        if delivery.outcome == Outcome::Parked {
            debug!(log, "payment not found"; named);
        }
        return;
    };
    debug!(log, "payment found"; named, "previous_status" => <&str>::from(previous),
        "registered_method" => <&str>::from(method));
    let Some(finding) = finding(delivery) else { return };
    debug!(log, "idempotency checked"; "finding" => finding, named);
    if previous != new {
        debug!(log, "payment status updated"; named, Moved(previous, new));
        if method.record_kind().is_some() {
            debug!(log, "method record updated"; named, "registered_method" => <&str>::from(method),
                Moved(previous, new));
        }
    }
    let Some(pay) = pay else { return };
    debug!(log, "payment.pay() completed the payment"; named);
    match pay {
        Ok(()) => debug!(log, "order.pay() paid the order"; named),
        Err(reason) => debug!(log, "order.pay() did not pay the order"; named, "reason" => <&str>::from(reason)),
    }
}

/// Whether a notification of a registered payment says something new; `None` if it contradicts the payment.
fn finding(delivery: &Delivery) -> Option<&'static str> {
    match delivery.outcome {
        Outcome::Rejected(_) | Outcome::Parked | Outcome::Invalid(_) => None,
        Outcome::Duplicate => Some("duplicate"),
        Outcome::Ignored => Some("backwards"),
        Outcome::Processing
        | Outcome::Failed
        | Outcome::Cancelled
        | Outcome::Completed
        | Outcome::Refunded
        | Outcome::PartiallyRefunded
        | Outcome::Unapplied(_) => Some("new"),
    }
}

/// A registration, and what came of the notifications that had been parked for it.
pub(crate) fn registered(
    log: &Logger,
    registration: &Registration,
    outcome: RegistrationOutcome,
    applied: &[Settlement],
    caller: &Caller,
    took: Duration,
) {
    let correlated = correlated(log, caller.request_id.as_ref());
    info!(correlated, "registration"; "payment_id" => registration.payment_id.as_str(),
        "order_id" => registration.order_id.as_str(), "payment_method" => <&str>::from(registration.method),
        "outcome" => <&str>::from(outcome), "applied" => applied.len(), By(caller), "duration_ms" => millis(took));
    let (logged, others) = applied.split_at(applied.len().min(APPLIED_LOGGED_MAX));
    for settlement in logged {
        settled(log, settlement, None);
    }
    if !others.is_empty() {
        warn!(correlated, "more notifications were applied than are logged; the audit trail shows all of them";
            "payment_id" => registration.payment_id.as_str(), "count" => others.len());
    }
}

pub(crate) fn cancelled(log: &Logger, id: &OrderId, outcome: Cancellation, caller: &Caller, took: Duration) {
    let log = correlated(log, caller.request_id.as_ref());
    info!(log, "cancellation"; "order_id" => id.as_str(), "outcome" => <&str>::from(outcome), By(caller),
        "duration_ms" => millis(took));
}

/// A stored delivery was applied again, or only tried.
pub(crate) fn replayed(
    log: &Logger,
    id: DeliveryId,
    settlement: &Settlement,
    dry_run: bool,
    caller: &Caller,
    took: Duration,
) {
    let correlated = correlated(log, caller.request_id.as_ref());
    let delivery = &settlement.delivery;
    let outcome = <&str>::from(delivery.outcome.kind());
    if dry_run {
        info!(correlated, "replay tried; nothing changed"; "replayed_delivery_id" => %id, Said(&delivery.content),
            "outcome" => outcome, By(caller), "duration_ms" => millis(took));
    } else {
        info!(correlated, "replay"; "replayed_delivery_id" => %id, Said(&delivery.content), "outcome" => outcome,
            By(caller), "duration_ms" => millis(took));
        settled(log, settlement, None);
    }
}

/// An event is to be sent again.
pub(crate) fn event_redelivered(log: &Logger, id: EventId, caller: &Caller, took: Duration) {
    let log = correlated(log, caller.request_id.as_ref());
    info!(log, "redelivery"; "event_id" => %id, "count" => 1, By(caller), "duration_ms" => millis(took));
}

/// All events that match are to be sent again, or were only counted.
pub(crate) fn events_redelivered(
    log: &Logger,
    filter: &EventFilter,
    result: RedeliveredEvents,
    caller: &Caller,
    took: Duration,
) {
    let log = correlated(log, caller.request_id.as_ref());
    let RedeliveredEvents { matched, redelivered, dry_run } = result;
    if dry_run {
        info!(log, "redelivery tried; nothing changed"; Matching(filter), "count" => matched, By(caller),
            "duration_ms" => millis(took));
    } else {
        info!(log, "redelivery"; Matching(filter), "count" => redelivered, By(caller), "duration_ms" => millis(took));
    }
}

/// The log tells why; the answer does not.
pub(crate) fn failed(
    log: &Logger,
    subject: Subject<'_>,
    error: &(dyn Error + 'static),
    caller: &Caller,
    took: Duration,
) {
    let log = correlated(log, caller.request_id.as_ref());
    error!(log, "not carried out"; Named(subject), "error" => error_chain(error), "duration_ms" => millis(took));
}

/// Old records were removed, or only looked at.
pub(crate) fn pruned(log: &Logger, pruned: &Pruned, took: Duration) {
    let log = log.new(o!("deliveries_removed" => pruned.removed.deliveries, "events_removed" => pruned.removed.events,
        "deliveries_needed" => pruned.needed.deliveries, "events_needed" => pruned.needed.events,
        "duration_ms" => millis(took)));
    if pruned.dry_run {
        info!(log, "prune tried; nothing changed"; "before" => pruned.before.to_rfc3339());
    } else {
        info!(log, "old records removed"; "before" => pruned.before.to_rfc3339());
    }
}

/// The portal was told of an event, or was not. Its own log has the event's id as that of the request.
pub(crate) fn event_attempted(
    log: &Logger,
    pending: &PendingEvent,
    attempt: &EventAttempt,
    result: AttemptResult,
    pause: Option<Duration>,
) {
    let log = log.new(o!("correlation_id" => pending.event.id.to_string()));
    let attempted = Attempted(pending, attempt);
    match result {
        AttemptResult::Delivered => info!(log, "event delivered"; attempted),
        AttemptResult::Failed => warn!(log, "event not delivered; it is tried again"; attempted,
            "pause_s" => millis(pause.unwrap_or_default()) / 1e3),
        AttemptResult::Dead => error!(log, "event not delivered; it is given up"; attempted),
    }
}

pub(crate) fn event_unreadable(log: &Logger, reason: &str) {
    error!(log, "an event cannot be understood and holds up its order"; "reason" => reason);
}

/// Payments that do not come on by themselves: monitoring may not be set up, and the log is always read.
pub(crate) fn stuck(log: &Logger, stats: &LedgerStats, now: DateTime<Utc>) {
    let age_s = |at: Option<DateTime<Utc>>| at.map_or(0, |at| (now - at).num_seconds());
    warn!(log, "payments are stuck: an operator must look"; "unapplied_payments" => stats.unapplied_payments,
        "open_payments" => stats.open_payments,
        "oldest_open_payment_s" => age_s(stats.oldest_open_payment_at),
        "parked_notifications" => stats.parked_notifications,
        "oldest_parked_notification_s" => age_s(stats.oldest_parked_notification_at));
}

/// A round of a background task failed; it is tried again.
pub(crate) fn task_failed(log: &Logger, task: &str, error: &(dyn Error + 'static), failures: u32) {
    warn!(log, "background task failed"; "task" => task, "failures" => failures, "error" => error_chain(error));
}
