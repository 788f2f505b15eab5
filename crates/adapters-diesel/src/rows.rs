//! Rows as they are stored, and what they mean to the domain. Each is mapped field by field, so that a new
//! column or a new field does not compile until it is mapped.

use std::str::FromStr;
use std::time::Duration;

use chrono::TimeDelta;
use diesel::prelude::*;
use domain::{
    Content, Currency, Delivery, DeliveryId, Event, EventAttempt, EventId, EventState, ExternalPayment, InvoiceNumber,
    KeyName, MethodName, MethodRecord, Money, Order, OrderId, Outcome, OutcomeKind, ParkedNotification, PartialRefund,
    Payload, PaymentId, Provenance, RecordDetails, RedirectUrl, RequestId, TransactionId, UserId,
};
use ports::{AttemptResult, AttemptedEvent, EventStatus, PendingEvent, RecordedPayment};
use sha2::{Digest as _, Sha256};

use crate::schema::{
    deliveries, event_attempts, events, external_payments, inner_payment_details, invoice_payment_details,
    open_payments, orders, parked_deliveries, partial_refunds,
};
use crate::{RowIds, StorageError, StoredTime, StoredUuid};

type Parsed<T> = Result<T, StorageError>;

/// Reads a stored text by the domain's own rule for it.
fn parse<T, E>(what: &'static str, value: String, parser: impl FnOnce(&str) -> Result<T, E>) -> Parsed<T> {
    parser(&value).map_err(|_| StorageError::Corrupt { what, value })
}

fn parse_some<T, E>(
    what: &'static str,
    value: Option<String>,
    parser: impl FnOnce(&str) -> Result<T, E>,
) -> Parsed<Option<T>> {
    value.map(|value| parse(what, value, parser)).transpose()
}

/// As [`parse_some`], for personal data, which must not be shown.
fn parse_private<T, E>(
    what: &'static str,
    value: Option<String>,
    parser: impl FnOnce(&str) -> Result<T, E>,
) -> Parsed<Option<T>> {
    parse_some(what, value, parser).map_err(|error| match error {
        StorageError::Corrupt { what, value } => {
            StorageError::Corrupt { what, value: format!("{} bytes", value.len()) }
        }
        error => error,
    })
}

fn money(what: &'static str, amount_minor: i64, currency: String) -> Parsed<Money> {
    let known = parse(what, currency, Currency::parse)?;
    Money::from_minor(amount_minor, known).map_err(|_| StorageError::Corrupt { what, value: amount_minor.to_string() })
}

/// A row of `orders` without its key, which the database gives.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = orders, treat_none_as_default_value = false)]
pub struct OrderRow {
    pub order_id: String,
    pub amount_minor: i64,
    pub currency: String,
    pub status: String,
    pub paid_by: Option<String>,
    pub paid_at: Option<StoredTime>,
    pub created_at: StoredTime,
    pub updated_at: StoredTime,
}

impl From<Order> for OrderRow {
    fn from(order: Order) -> Self {
        let Order { id, price, status, paid_by, paid_at, created_at, updated_at } = order;
        Self {
            order_id: id.to_string(),
            amount_minor: price.minor(),
            currency: price.currency().to_string(),
            status: status.to_string(),
            paid_by: paid_by.map(|id| id.to_string()),
            paid_at: paid_at.map(StoredTime),
            created_at: StoredTime(created_at),
            updated_at: StoredTime(updated_at),
        }
    }
}

impl TryFrom<OrderRow> for Order {
    type Error = StorageError;

    fn try_from(row: OrderRow) -> Parsed<Self> {
        let OrderRow { order_id, amount_minor, currency, status, paid_by, paid_at, created_at, updated_at } = row;
        Ok(Self {
            id: parse("orders.order_id", order_id, OrderId::parse)?,
            price: money("orders.amount_minor and currency", amount_minor, currency)?,
            status: parse("orders.status", status, FromStr::from_str)?,
            paid_by: parse_some("orders.paid_by", paid_by, PaymentId::parse)?,
            paid_at: paid_at.map(|at| at.0),
            created_at: created_at.0,
            updated_at: updated_at.0,
        })
    }
}

/// What settling changes in a row of `orders`.
#[derive(Debug)]
pub struct OrderChange {
    pub order_key: i64,
    pub status: String,
    pub paid_by: Option<String>,
    pub paid_at: Option<StoredTime>,
    pub updated_at: StoredTime,
}

impl OrderChange {
    /// How the row of this order is to be.
    ///
    /// # Errors
    /// [`StorageError::Unregistered`] if its key is unknown.
    pub fn new(order: &Order, keys: &RowIds) -> Parsed<Self> {
        Ok(Self {
            order_key: keys.order(&order.id)?,
            status: order.status.to_string(),
            paid_by: order.paid_by.as_ref().map(ToString::to_string),
            paid_at: order.paid_at.map(StoredTime),
            updated_at: StoredTime(order.updated_at),
        })
    }
}

/// A row of `external_payments` without its key, which the database gives.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = external_payments, treat_none_as_default_value = false)]
pub struct PaymentRow {
    pub payment_id: String,
    pub order_key: i64,
    pub method: String,
    pub amount_minor: i64,
    pub currency: String,
    pub status: String,
    pub redirect_url: Option<String>,
    pub transaction_id: Option<String>,
    pub created_at: StoredTime,
    pub updated_at: StoredTime,
    pub paid_at: Option<StoredTime>,
}

impl PaymentRow {
    /// The row of a payment.
    ///
    /// # Errors
    /// [`StorageError::Unregistered`] if the key of its order is unknown.
    pub fn new(payment: ExternalPayment, keys: &RowIds) -> Parsed<Self> {
        let ExternalPayment {
            id,
            order_id,
            method,
            price,
            status,
            redirect_url,
            transaction_id,
            created_at,
            updated_at,
            paid_at,
        } = payment;
        Ok(Self {
            payment_id: id.to_string(),
            order_key: keys.order(&order_id)?,
            method: method.to_string(),
            amount_minor: price.minor(),
            currency: price.currency().to_string(),
            status: status.to_string(),
            redirect_url: redirect_url.map(|url| url.to_string()),
            transaction_id: transaction_id.map(|id| id.to_string()),
            created_at: StoredTime(created_at),
            updated_at: StoredTime(updated_at),
            paid_at: paid_at.map(StoredTime),
        })
    }

    /// The payment, which is for the order with this id.
    pub(crate) fn payment(self, order_id: OrderId) -> Parsed<ExternalPayment> {
        let Self {
            payment_id,
            order_key: _,
            method,
            amount_minor,
            currency,
            status,
            redirect_url,
            transaction_id,
            created_at,
            updated_at,
            paid_at,
        } = self;
        Ok(ExternalPayment {
            id: parse("external_payments.payment_id", payment_id, PaymentId::parse)?,
            order_id,
            method: parse("external_payments.method", method, FromStr::from_str)?,
            price: money("external_payments.amount_minor and currency", amount_minor, currency)?,
            status: parse("external_payments.status", status, FromStr::from_str)?,
            redirect_url: parse_private("external_payments.redirect_url", redirect_url, RedirectUrl::parse)?,
            transaction_id: parse_some("external_payments.transaction_id", transaction_id, TransactionId::parse)?,
            created_at: created_at.0,
            updated_at: updated_at.0,
            paid_at: paid_at.map(|at| at.0),
        })
    }
}

/// What settling changes in a row of `external_payments`.
#[derive(Debug)]
pub struct PaymentChange {
    pub payment_key: i64,
    pub status: String,
    pub transaction_id: Option<String>,
    pub updated_at: StoredTime,
    pub paid_at: Option<StoredTime>,
}

impl PaymentChange {
    /// How the row of this payment is to be.
    ///
    /// # Errors
    /// [`StorageError::Unregistered`] if its key is unknown.
    pub fn new(payment: &ExternalPayment, keys: &RowIds) -> Parsed<Self> {
        Ok(Self {
            payment_key: keys.payment(&payment.id)?,
            status: payment.status.to_string(),
            transaction_id: payment.transaction_id.as_ref().map(ToString::to_string),
            updated_at: StoredTime(payment.updated_at),
            paid_at: payment.paid_at.map(StoredTime),
        })
    }
}

/// A row of `open_payments`.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = open_payments, treat_none_as_default_value = false)]
pub struct OpenRow {
    pub created_at: StoredTime,
    pub payment_key: i64,
}

impl OpenRow {
    /// The row of a payment that is pending or processing.
    ///
    /// # Errors
    /// [`StorageError::Unregistered`] if its key is unknown.
    pub fn new(payment: &ExternalPayment, keys: &RowIds) -> Parsed<Self> {
        Ok(Self { created_at: StoredTime(payment.created_at), payment_key: keys.payment(&payment.id)? })
    }
}

/// A row of `inner_payment_details`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = inner_payment_details)]
pub struct InnerDetailsRow {
    pub payment_key: i64,
    pub user_id: String,
}

/// A row of `invoice_payment_details`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = invoice_payment_details)]
pub struct InvoiceDetailsRow {
    pub payment_key: i64,
    pub invoice_number: String,
}

/// The rows of these details of the payment with this key, as far as there are values.
#[must_use]
pub fn details_rows(payment_key: i64, details: RecordDetails) -> (Option<InnerDetailsRow>, Option<InvoiceDetailsRow>) {
    let RecordDetails { invoice_number, user_id } = details;
    (
        user_id.map(|id| InnerDetailsRow { payment_key, user_id: id.to_string() }),
        invoice_number.map(|number| InvoiceDetailsRow { payment_key, invoice_number: number.to_string() }),
    )
}

/// A payment's row with what its method knows beyond it.
pub type RecordedRow = (PaymentRow, Option<InnerDetailsRow>, Option<InvoiceDetailsRow>);

/// A payment for the order with this id, with its method's record.
///
/// # Errors
/// [`StorageError::Corrupt`].
pub fn recorded_payment(row: RecordedRow, order_id: OrderId) -> Parsed<RecordedPayment> {
    let (payment, inner, invoice) = row;
    let payment = payment.payment(order_id)?;
    let user_id = inner.map(|InnerDetailsRow { payment_key: _, user_id }| user_id);
    let number = invoice.map(|InvoiceDetailsRow { payment_key: _, invoice_number }| invoice_number);
    let details = RecordDetails {
        invoice_number: parse_some("invoice_payment_details.invoice_number", number, InvoiceNumber::parse)?,
        user_id: parse_private("inner_payment_details.user_id", user_id, UserId::parse)?,
    };
    let record = MethodRecord::of(&payment, details);
    Ok(RecordedPayment { payment, record })
}

/// A row of `partial_refunds`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = partial_refunds, treat_none_as_default_value = false)]
pub struct PartialRefundRow {
    pub payment_id: String,
    pub sent_at: StoredTime,
    pub transaction_id: String,
}

impl From<PartialRefund> for PartialRefundRow {
    fn from(refund: PartialRefund) -> Self {
        let PartialRefund { payment_id, sent_at, transaction_id } = refund;
        Self {
            payment_id: payment_id.to_string(),
            sent_at: StoredTime(sent_at),
            // Part of the key, so it cannot be NULL; no transaction has an empty id.
            transaction_id: transaction_id.map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<PartialRefundRow> for PartialRefund {
    type Error = StorageError;

    fn try_from(row: PartialRefundRow) -> Parsed<Self> {
        let PartialRefundRow { payment_id, sent_at, transaction_id } = row;
        let transaction_id = Some(transaction_id).filter(|id| !id.is_empty());
        Ok(Self {
            payment_id: parse("partial_refunds.payment_id", payment_id, PaymentId::parse)?,
            sent_at: sent_at.0,
            transaction_id: parse_some("partial_refunds.transaction_id", transaction_id, TransactionId::parse)?,
        })
    }
}

/// A row of `parked_deliveries`.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = parked_deliveries, treat_none_as_default_value = false)]
pub struct ParkedRow {
    pub delivery_id: StoredUuid,
    pub payment_id: String,
    pub identity: Vec<u8>,
}

impl ParkedRow {
    /// The row of a delivery that has to wait for its payment; `None` for all others.
    #[must_use]
    pub fn of(delivery: &Delivery) -> Option<Self> {
        let ParkedNotification { provenance, notification } = delivery.parked()?;
        Some(Self {
            delivery_id: StoredUuid(provenance.delivery_id.0),
            payment_id: notification.payment_id.to_string(),
            // An index takes the digest, but not every text that may be this long.
            identity: Sha256::digest(notification.identity().to_string()).to_vec(),
        })
    }
}

/// A row of `deliveries`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = deliveries, treat_none_as_default_value = false)]
pub struct DeliveryRow {
    pub delivery_id: StoredUuid,
    pub received_at: StoredTime,
    pub source: String,
    pub payment_key: Option<i64>,
    pub payment_id: Option<String>,
    pub order_id: Option<String>,
    pub status: Option<String>,
    pub event: Option<String>,
    pub method: Option<String>,
    pub amount: Option<String>,
    pub currency: Option<String>,
    pub sent_at: Option<StoredTime>,
    pub transaction_id: Option<String>,
    pub body_sha256: Option<Vec<u8>>,
    pub key_name: Option<String>,
    pub request_id: Option<String>,
    pub outcome: String,
    pub reason: Option<String>,
    pub previous_status: Option<String>,
    pub new_status: Option<String>,
}

impl DeliveryRow {
    /// The row of a delivery.
    #[must_use]
    pub fn new(delivery: Delivery, keys: &RowIds) -> Self {
        let Delivery { provenance, content, outcome, previous_status, new_status } = delivery;
        let Provenance { delivery_id, received_at, source, body_sha256, key_name, request_id } = provenance;
        let Payload { payment_id, order_id, status, event, method, amount, currency, sent_at, transaction_id } =
            content.into();
        Self {
            delivery_id: StoredUuid(delivery_id.0),
            received_at: StoredTime(received_at),
            source: source.to_string(),
            payment_key: payment_id.as_ref().and_then(|id| keys.payments.get(id).copied()),
            payment_id: payment_id.map(|id| id.to_string()),
            order_id: order_id.map(|id| id.to_string()),
            status: status.map(|status| status.to_string()),
            event: event.map(|event| event.to_string()),
            method: method.map(|method| method.to_string()),
            amount: amount.map(|amount| amount.to_string()),
            currency: currency.map(|currency| currency.to_string()),
            sent_at: sent_at.map(StoredTime),
            transaction_id: transaction_id.map(|id| id.to_string()),
            body_sha256: body_sha256.map(Vec::from),
            key_name: key_name.map(|name| name.as_str().to_owned()),
            request_id: request_id.map(|id| id.as_str().to_owned()),
            outcome: outcome.kind().to_string(),
            reason: outcome.reason().map(Into::into),
            previous_status: previous_status.map(|status| status.to_string()),
            new_status: new_status.map(|status| status.to_string()),
        }
    }
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = StorageError;

    fn try_from(row: DeliveryRow) -> Parsed<Self> {
        let DeliveryRow {
            delivery_id,
            received_at,
            source,
            payment_key: _,
            payment_id,
            order_id,
            status,
            event,
            method,
            amount,
            currency,
            sent_at,
            transaction_id,
            body_sha256,
            key_name,
            request_id,
            outcome,
            reason,
            previous_status,
            new_status,
        } = row;
        let kind: OutcomeKind = parse("deliveries.outcome", outcome, FromStr::from_str)?;
        let corrupt_reason =
            || StorageError::Corrupt { what: "deliveries.reason", value: reason.clone().unwrap_or_default() };
        let digest = |bytes: Vec<u8>| {
            let length = bytes.len();
            let corrupt =
                move |_| StorageError::Corrupt { what: "deliveries.body_sha256", value: format!("{length} bytes") };
            bytes.try_into().map_err(corrupt)
        };
        let request = |text: String| {
            let parsed = RequestId::parse(&text);
            parsed.ok_or(StorageError::Corrupt { what: "deliveries.request_id", value: text })
        };
        let outcome = Outcome::from_parts(kind, reason.as_deref()).ok_or_else(corrupt_reason)?;
        let payload = Payload {
            payment_id: parse_some("deliveries.payment_id", payment_id, PaymentId::parse)?,
            order_id: parse_some("deliveries.order_id", order_id, OrderId::parse)?,
            status: parse_some("deliveries.status", status, FromStr::from_str)?,
            event: parse_some("deliveries.event", event, FromStr::from_str)?,
            method: parse_some("deliveries.method", method, MethodName::parse)?,
            amount: parse_some("deliveries.amount", amount, FromStr::from_str)?,
            currency: parse_some("deliveries.currency", currency, Currency::parse)?,
            sent_at: sent_at.map(|at| at.0),
            transaction_id: parse_some("deliveries.transaction_id", transaction_id, TransactionId::parse)?,
        };
        let content = match (&outcome, payload.notification()) {
            (Outcome::Invalid(_), _) => Content::Fragments(payload),
            (_, Some(notification)) => Content::Notification(notification),
            (_, None) => return Err(incomplete(delivery_id)),
        };
        Ok(Self {
            provenance: Provenance {
                delivery_id: DeliveryId(delivery_id.0),
                received_at: received_at.0,
                source: parse("deliveries.source", source, FromStr::from_str)?,
                body_sha256: body_sha256.map(digest).transpose()?,
                key_name: key_name.map(KeyName::from_stored),
                request_id: request_id.map(request).transpose()?,
            },
            content,
            outcome,
            previous_status: parse_some("deliveries.previous_status", previous_status, FromStr::from_str)?,
            new_status: parse_some("deliveries.new_status", new_status, FromStr::from_str)?,
        })
    }
}

impl TryFrom<DeliveryRow> for ParkedNotification {
    type Error = StorageError;

    fn try_from(row: DeliveryRow) -> Parsed<Self> {
        let id = row.delivery_id;
        Delivery::try_from(row)?.parked().ok_or_else(|| incomplete(id))
    }
}

/// That a delivery lacks what its outcome implies: all outcomes but `invalid` are of whole notifications, and what
/// waits is `parked`.
fn incomplete(id: StoredUuid) -> StorageError {
    StorageError::Corrupt { what: "delivery that does not fit its outcome", value: id.0.to_string() }
}

/// A row of `events` as it is added: the database gives its position.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = events, treat_none_as_default_value = false)]
pub struct EventRow {
    pub event_id: StoredUuid,
    pub kind: String,
    pub order_key: i64,
    pub payment_key: i64,
    pub paid_at: Option<StoredTime>,
    pub created_at: StoredTime,
}

impl EventRow {
    /// The row of an event.
    ///
    /// # Errors
    /// [`StorageError::Unregistered`] if a key is unknown.
    pub fn new(event: Event, keys: &RowIds) -> Parsed<Self> {
        let Event { id, kind, order_id, payment_id, paid_at, created_at } = event;
        Ok(Self {
            event_id: StoredUuid(id.0),
            kind: kind.to_string(),
            order_key: keys.order(&order_id)?,
            payment_key: keys.payment(&payment_id)?,
            paid_at: paid_at.map(StoredTime),
            created_at: StoredTime(created_at),
        })
    }
}

/// An event with the ids of its order and its payment.
#[derive(Debug, Clone, Queryable)]
pub struct NamedEventRow {
    pub event_id: StoredUuid,
    pub kind: String,
    pub order_id: String,
    pub payment_id: String,
    pub paid_at: Option<StoredTime>,
    pub created_at: StoredTime,
}

impl TryFrom<NamedEventRow> for Event {
    type Error = StorageError;

    fn try_from(row: NamedEventRow) -> Parsed<Self> {
        let NamedEventRow { event_id, kind, order_id, payment_id, paid_at, created_at } = row;
        Ok(Self {
            id: EventId(event_id.0),
            kind: parse("events.kind", kind, FromStr::from_str)?,
            order_id: parse("orders.order_id", order_id, OrderId::parse)?,
            payment_id: parse("external_payments.payment_id", payment_id, PaymentId::parse)?,
            paid_at: paid_at.map(|at| at.0),
            created_at: created_at.0,
        })
    }
}

/// An event that is to be sent, with what the portal is told besides.
#[derive(Debug, Clone, Queryable)]
pub struct PendingEventRow {
    pub order_key: i64,
    pub event: NamedEventRow,
    pub method: String,
    pub amount_minor: i64,
    pub currency: String,
    pub failures: i32,
}

impl TryFrom<PendingEventRow> for PendingEvent {
    type Error = StorageError;

    fn try_from(row: PendingEventRow) -> Parsed<Self> {
        let PendingEventRow { order_key: _, event, method, amount_minor, currency, failures } = row;
        Ok(Self {
            event: event.try_into()?,
            method: parse("external_payments.method", method, FromStr::from_str)?,
            price: money("external_payments.amount_minor and currency", amount_minor, currency)?,
            failures: failures.unsigned_abs(),
        })
    }
}

/// The events up to the first that cannot be understood, and what cannot.
#[must_use]
pub fn readable_events(rows: Vec<PendingEventRow>) -> (Vec<PendingEvent>, Option<String>) {
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        match row.try_into() {
            Ok(event) => events.push(event),
            Err(error) => return (events, Some(StorageError::to_string(&error))),
        }
    }
    (events, None)
}

/// An event and how far the portal has been told of it.
#[derive(Debug, Clone, Queryable)]
pub struct EventStatusRow {
    pub event: NamedEventRow,
    pub delivered_at: Option<StoredTime>,
    pub died_at: Option<StoredTime>,
    pub due_at: Option<StoredTime>,
    pub attempts: i64,
    pub last_error: Option<String>,
}

impl TryFrom<EventStatusRow> for EventStatus {
    type Error = StorageError;

    fn try_from(row: EventStatusRow) -> Parsed<Self> {
        let EventStatusRow { event, delivered_at, died_at, due_at, attempts, last_error } = row;
        let state = match (delivered_at, died_at) {
            (None, None) => EventState::Pending,
            (Some(_), _) => EventState::Delivered,
            (None, Some(_)) => EventState::Dead,
        };
        // The queue may have been due before the event came into it.
        let due_at = due_at.map(|at| at.0.max(event.created_at.0));
        Ok(Self {
            event: event.try_into()?,
            state,
            attempts,
            next_attempt_at: due_at.filter(|_| state == EventState::Pending),
            delivered_at: delivered_at.map(|at| at.0),
            last_error,
        })
    }
}

/// A row of `event_attempts`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = event_attempts, treat_none_as_default_value = false)]
pub struct AttemptRow {
    pub event_id: StoredUuid,
    pub attempted_at: StoredTime,
    pub duration_ms: i64,
    pub status: Option<i32>,
    pub error: Option<String>,
}

impl From<&AttemptedEvent> for AttemptRow {
    fn from(attempted: &AttemptedEvent) -> Self {
        let AttemptedEvent { id, attempt, result: _ } = attempted;
        let EventAttempt { attempted_at, duration, status, error } = attempt.clone();
        Self {
            event_id: StoredUuid(id.0),
            attempted_at: StoredTime(attempted_at),
            duration_ms: duration_ms(duration),
            status: status.map(Into::into),
            error,
        }
    }
}

impl TryFrom<AttemptRow> for EventAttempt {
    type Error = StorageError;

    fn try_from(row: AttemptRow) -> Parsed<Self> {
        let AttemptRow { event_id: _, attempted_at, duration_ms, status, error } = row;
        let parse_status = |status: i32| {
            let corrupt = |_| StorageError::Corrupt { what: "event_attempts.status", value: status.to_string() };
            u16::try_from(status).map_err(corrupt)
        };
        Ok(Self {
            attempted_at: attempted_at.0,
            duration: Duration::from_millis(duration_ms.unsigned_abs()),
            status: status.map(parse_status).transpose()?,
            error,
        })
    }
}

fn duration_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What an attempt changes in a row of `events`.
#[derive(Debug, Clone)]
pub struct EventChange {
    pub event_id: StoredUuid,
    pub failed: i32,
    pub delivered_at: Option<StoredTime>,
    pub died_at: Option<StoredTime>,
}

impl From<&AttemptedEvent> for EventChange {
    fn from(attempted: &AttemptedEvent) -> Self {
        let AttemptedEvent { id, attempt, result } = attempted;
        // Kept to the millisecond, as the attempt is.
        let took = TimeDelta::milliseconds(duration_ms(attempt.duration));
        let ended_at = StoredTime(attempt.attempted_at + took);
        Self {
            event_id: StoredUuid(id.0),
            failed: (*result != AttemptResult::Delivered).into(),
            delivered_at: (*result == AttemptResult::Delivered).then_some(ended_at),
            died_at: (*result == AttemptResult::Dead).then_some(ended_at),
        }
    }
}

/// The outcomes whose entries are not found by a payment, as a list of SQL literals: the values of the partial index
/// `deliveries_order`, which a database recognises only if they are literals.
#[must_use]
pub fn not_applied_outcomes() -> String {
    OutcomeKind::not_applied().map(|kind| format!("'{kind}'")).collect::<Vec<_>>().join(", ")
}

/// Reads every row.
///
/// # Errors
/// [`StorageError::Corrupt`] for the first that cannot be understood.
pub fn read_all<Row, T: TryFrom<Row, Error = StorageError>>(rows: Vec<Row>) -> Parsed<Vec<T>> {
    rows.into_iter().map(T::try_from).collect()
}
