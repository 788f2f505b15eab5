//! What commands print: documents for scripts, tables for people.

use std::io::{self, Write as _};

use adapters_http::documents::{
    DeliveryDocument, EventAttemptDocument, EventDocument, OrderDocument, PaymentDocument, RecordDocument,
};
use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;

/// How to print.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Format {
    /// Print the same JSON documents that the HTTP interface gives
    #[arg(long, env = "OUTPUT_JSON")]
    json: bool,
}

impl Format {
    /// Prints the document, or what `for_people` makes of it.
    pub(crate) fn print<T: Serialize>(self, document: &T, for_people: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        if self.json {
            print(&format!("{}\n", serde_json::to_string_pretty(document)?))
        } else {
            print(&for_people(document))
        }
    }
}

/// Prints a result. A reader that has seen enough is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

pub(crate) fn payment(payment: &PaymentDocument) -> String {
    let PaymentDocument {
        payment_id,
        order_id,
        payment_method,
        amount,
        currency,
        status,
        redirect_url,
        provider_transaction_id,
        created_at,
        updated_at,
        paid_at,
        record,
    } = payment;
    let mut lines = vec![
        ("payment", payment_id.clone()),
        ("order", order_id.clone()),
        ("status", (*status).to_owned()),
        ("amount", format!("{amount} {currency}")),
        ("method", (*payment_method).to_owned()),
        ("transaction", provider_transaction_id.clone().unwrap_or_default()),
        ("redirect URL", redirect_url.clone().unwrap_or_default()),
        ("registered", created_at.0.clone()),
        ("updated", updated_at.0.clone()),
        ("paid", paid_at.as_ref().map(|time| time.0.clone()).unwrap_or_default()),
    ];
    lines.extend(record.iter().map(|record| ("record", describe(record))));
    in_lines(&lines)
}

/// The kind of the record and its members, whichever the method has.
fn describe(record: &RecordDocument) -> String {
    let Ok(Value::Object(mut members)) = serde_json::to_value(record) else { return String::new() };
    let word = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let kind = members.remove("kind").as_ref().map(word).unwrap_or_default();
    let members = members.iter().map(|(name, value)| format!(", {} {}", in_words(name), word(value)));
    kind + &members.collect::<String>()
}

/// A JSON member's name as words: `invoiceNumber` is `invoice number`.
fn in_words(name: &str) -> String {
    name.chars().flat_map(|c| [c.is_uppercase().then_some(' '), Some(c.to_ascii_lowercase())]).flatten().collect()
}

pub(crate) fn order(order: &OrderDocument) -> String {
    let OrderDocument { order_id, amount, currency, status, paid_by, paid_at, created_at, updated_at } = order;
    in_lines(&[
        ("order", order_id.clone()),
        ("status", (*status).to_owned()),
        ("amount", format!("{amount} {currency}")),
        ("paid by", paid_by.clone().unwrap_or_default()),
        ("paid", paid_at.as_ref().map(|time| time.0.clone()).unwrap_or_default()),
        ("created", created_at.0.clone()),
        ("updated", updated_at.0.clone()),
    ])
}

/// The audit trail, a line each.
pub(crate) fn deliveries(deliveries: &[DeliveryDocument]) -> String {
    let mut table = table(["RECEIVED", "SOURCE", "REPORTED", "OUTCOME", "MOVED", "PAYMENT", "DELIVERY", "REASON"]);
    for delivery in deliveries {
        let reported = match (delivery.status, delivery.event) {
            (Some(status), Some(event)) if status != event => format!("{status}/{event}"),
            (status, _) => status.unwrap_or("?").to_owned(),
        };
        let moved = match (delivery.previous_status, delivery.new_status) {
            (Some(previous), Some(new)) if previous != new => format!("{previous} → {new}"),
            _ => "-".to_owned(),
        };
        table.add_row([
            &delivery.received_at.0,
            delivery.source,
            &reported,
            delivery.outcome,
            &moved,
            delivery.payment_id.as_deref().unwrap_or("?"),
            delivery.delivery_id.as_deref().unwrap_or("-"),
            delivery.reason.as_deref().unwrap_or_default(),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

/// Events, a line each.
pub(crate) fn events(events: &[EventDocument]) -> String {
    let mut table = table(["CREATED", "TYPE", "STATE", "ATTEMPTS", "DUE", "ORDER", "EVENT", "ERROR"]);
    for event in events {
        let due = event.next_attempt_at.as_ref().map_or("-", |time| &time.0);
        table.add_row([
            &event.created_at.0,
            event.r#type,
            event.state,
            &event.attempts.to_string(),
            due,
            &event.order_id,
            &event.event_id,
            event.last_error.as_deref().unwrap_or_default(),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

pub(crate) fn event(event: &EventDocument) -> String {
    let EventDocument {
        event_id,
        r#type,
        order_id,
        payment_id,
        state,
        attempts,
        created_at,
        next_attempt_at,
        delivered_at,
        last_error,
    } = event;
    in_lines(&[
        ("event", event_id.clone()),
        ("type", (*r#type).to_owned()),
        ("order", order_id.clone()),
        ("payment", payment_id.clone()),
        ("state", (*state).to_owned()),
        ("attempts", attempts.to_string()),
        ("created", created_at.0.clone()),
        ("due", next_attempt_at.as_ref().map(|time| time.0.clone()).unwrap_or_default()),
        ("delivered", delivered_at.as_ref().map(|time| time.0.clone()).unwrap_or_default()),
        ("last error", last_error.clone().unwrap_or_default()),
    ])
}

/// The attempts to deliver an event, a line each.
pub(crate) fn attempts(attempts: &[EventAttemptDocument]) -> String {
    let mut table = table(["ATTEMPTED", "TOOK", "STATUS", "ERROR"]);
    for attempt in attempts {
        table.add_row([
            attempt.attempted_at.0.clone(),
            format!("{} ms", attempt.duration_ms),
            attempt.status.map_or("-".to_owned(), |status| status.to_string()),
            attempt.error.clone().unwrap_or_default(),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

/// Names and values beneath each other, without those that have no value.
fn in_lines(lines: &[(&str, String)]) -> String {
    let given = lines.iter().filter(|(_, value)| !value.is_empty());
    given.map(|(name, value)| format!("{name:<13} {value}\n")).chain(["\n".to_owned()]).collect()
}
