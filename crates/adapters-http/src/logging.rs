//! What is written to the log: each answer once, each settlement once. Never a body, a key or anything about
//! a customer.

use std::error::Error;
use std::time::Duration;

use actix_web::http::StatusCode;
use domain::{Outcome, Registration, Settlement};
use slog::{Logger, error, info, o, warn};
use usecases::Registered;

use crate::problem::Problem;

pub(crate) fn log_answer(log: &Logger, status: StatusCode, duration: Duration) {
    info!(log, "answered"; "http_status" => status.as_u16(), "duration_ms" => millis(duration));
}

/// What the service could not do is an error; what it refused is a warning.
pub(crate) fn log_problem(log: &Logger, problem: &Problem, duration: Duration) {
    let log = log.new(o!(
        "http_status" => problem.kind.status.as_u16(), "code" => problem.kind.code,
        "reason" => problem.detail.clone(), "duration_ms" => millis(duration),
    ));
    match &problem.cause {
        Some(cause) => error!(log, "not processed"; "error" => chain(&**cause)),
        None if problem.kind.status.is_server_error() => error!(log, "not processed"),
        None => warn!(log, "refused"),
    }
}

/// A registration, and what came of the notifications that had waited for it.
pub(crate) fn log_registration(log: &Logger, registration: &Registration, registered: &Registered) {
    info!(log, "registration"; "payment_id" => registration.payment_id.as_str(),
        "order_id" => registration.order_id.as_str(), "outcome" => <&str>::from(registered.outcome));
    for settlement in &registered.applied {
        log_settlement(log, settlement);
    }
}

pub(crate) fn log_settlement(log: &Logger, settlement: &Settlement) {
    let Settlement { delivery, registered_method } = settlement;
    let payload = &delivery.payload;
    let log = log.new(o!(
        "delivery_id" => delivery.receipt.delivery_id.to_string(),
        "payment_id" => payload.payment_id.as_ref().map(ToString::to_string),
        "order_id" => payload.order_id.as_ref().map(ToString::to_string),
        "outcome" => delivery.outcome.kind().to_string(),
        "reason" => delivery.outcome.reason().map(String::from),
        "previous_status" => delivery.previous_status.map(<&str>::from),
        "new_status" => delivery.new_status.map(<&str>::from),
        "key_name" => delivery.receipt.key_name.as_ref().map(|name| name.as_str().to_owned()),
    ));
    if let (Some(registered), Some(reported)) = (registered_method, payload.method)
        && *registered != reported
    {
        warn!(log, "the payment method differs; the registered one counts";
            "payment_method" => <&str>::from(reported), "registered_method" => <&str>::from(registered));
    }
    match delivery.outcome {
        Outcome::Unapplied(_) => warn!(log, "the money arrived but the order could not be paid"),
        Outcome::Parked | Outcome::Rejected(_) | Outcome::Invalid(_) => warn!(log, "notification not settled"),
        _ => info!(log, "notification settled"),
    }
}

fn millis(duration: Duration) -> f64 {
    // To the microsecond; what lies below is noise.
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
    text
}
