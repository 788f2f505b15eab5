//! What stands in responses (contract §8). The commands print the same documents.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{
    Delivery, Event, EventAttempt, ExternalPayment, MethodRecord, Money, Order, Payload, PaymentStatus, Provenance,
    RegistrationOutcome, Settlement,
};
use ports::{EventHistory, EventStatus, LedgerError, OrderHistory, PaymentHistory, RecordedPayment};
use serde::Serialize;
use usecases::{BackgroundStatus, RedeliveredEvents, Replay, TaskStatus};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use crate::vocabulary::{self, string};

/// A time as documents show it: RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Timestamp(pub String);

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        string()
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .pattern(Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$"))
            .description(Some("RFC 3339, in UTC with milliseconds."))
            .into()
    }
}

impl ToSchema for Timestamp {}

/// Callbacks can be settled.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Ready)]
pub(crate) struct ReadyDocument {
    #[schema(value_type = vocabulary::ReadyStatus)]
    pub(crate) status: &'static str,
    /// The work that this replica does without a request. It has no part in the readiness.
    pub(crate) background: Vec<TaskDocument>,
}

/// What became of the rounds of a background task since the start.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Task)]
pub(crate) struct TaskDocument {
    task: &'static str,
    succeeded: u64,
    failed: u64,
    last_success_at: Option<Timestamp>,
}

impl ReadyDocument {
    pub(crate) fn new(background: &BackgroundStatus) -> Self {
        let document = |(task, TaskStatus { succeeded, failed, last_success_at })| TaskDocument {
            task,
            succeeded,
            failed,
            last_success_at: last_success_at.map(Into::into),
        };
        Self { status: "ready", background: background.all().into_iter().map(document).collect() }
    }
}

/// A payment.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Payment)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct PaymentDocument {
    #[schema(value_type = vocabulary::PaymentId)]
    pub payment_id: String,
    #[schema(value_type = vocabulary::OrderId)]
    pub order_id: String,
    #[schema(value_type = vocabulary::PaymentMethod)]
    pub payment_method: &'static str,
    #[schema(value_type = vocabulary::Amount)]
    pub amount: String,
    #[schema(value_type = vocabulary::CurrencyCode)]
    pub currency: &'static str,
    #[schema(value_type = vocabulary::PaymentStatus)]
    pub status: &'static str,
    #[schema(value_type = Option<vocabulary::RedirectUrl>)]
    pub redirect_url: Option<String>,
    #[schema(value_type = Option<vocabulary::TransactionId>)]
    pub provider_transaction_id: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub paid_at: Option<Timestamp>,
    pub record: Option<RecordDocument>,
}

impl From<RecordedPayment> for PaymentDocument {
    fn from(recorded: RecordedPayment) -> Self {
        let RecordedPayment { payment, record } = recorded;
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
        let (amount, currency) = amount_and_currency(price);
        Self {
            payment_id: id.to_string(),
            order_id: order_id.to_string(),
            payment_method: method.into(),
            amount,
            currency,
            status: status.into(),
            redirect_url: redirect_url.map(|url| url.to_string()),
            provider_transaction_id: transaction_id.map(|id| id.to_string()),
            created_at: created_at.into(),
            updated_at: updated_at.into(),
            paid_at: paid_at.map(Into::into),
            record: record.map(Into::into),
        }
    }
}

/// The record of a payment's method.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = Record)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub enum RecordDocument {
    #[serde(rename_all = "camelCase")]
    Paypal {
        #[schema(value_type = vocabulary::PaymentStatus)]
        status: &'static str,
        #[schema(value_type = Option<vocabulary::TransactionId>)]
        transaction_id: Option<String>,
    },
    #[serde(rename_all = "camelCase")]
    Webpay {
        #[schema(value_type = vocabulary::PaymentStatus)]
        status: &'static str,
        #[schema(value_type = Option<vocabulary::TransactionId>)]
        transaction_id: Option<String>,
    },
    #[serde(rename_all = "camelCase")]
    Inner {
        #[schema(value_type = vocabulary::PaymentStatus)]
        status: &'static str,
        #[schema(value_type = Option<vocabulary::UserId>)]
        user_id: Option<String>,
    },
    #[serde(rename_all = "camelCase")]
    Invoice {
        #[schema(value_type = vocabulary::PaymentStatus)]
        status: &'static str,
        #[schema(value_type = Option<vocabulary::InvoiceNumber>)]
        invoice_number: Option<String>,
        /// The provider's id of the transaction that settled the invoice.
        #[schema(value_type = Option<vocabulary::TransactionId>)]
        receipt: Option<String>,
    },
}

impl From<MethodRecord> for RecordDocument {
    fn from(record: MethodRecord) -> Self {
        let word = <&'static str>::from;
        match record {
            MethodRecord::Paypal { status, transaction_id } => {
                Self::Paypal { status: word(status), transaction_id: transaction_id.map(|id| id.to_string()) }
            }
            MethodRecord::Webpay { status, transaction_id } => {
                Self::Webpay { status: word(status), transaction_id: transaction_id.map(|id| id.to_string()) }
            }
            MethodRecord::Inner { status, user_id } => {
                Self::Inner { status: word(status), user_id: user_id.map(|id| id.to_string()) }
            }
            MethodRecord::Invoice { status, number, receipt } => Self::Invoice {
                status: word(status),
                invoice_number: number.map(|number| number.to_string()),
                receipt: receipt.map(|id| id.to_string()),
            },
        }
    }
}

/// An order.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Order)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct OrderDocument {
    #[schema(value_type = vocabulary::OrderId)]
    pub order_id: String,
    #[schema(value_type = vocabulary::Amount)]
    pub amount: String,
    #[schema(value_type = vocabulary::CurrencyCode)]
    pub currency: &'static str,
    #[schema(value_type = vocabulary::OrderStatus)]
    pub status: &'static str,
    #[schema(value_type = Option<vocabulary::PaymentId>)]
    pub paid_by: Option<String>,
    pub paid_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<Order> for OrderDocument {
    fn from(order: Order) -> Self {
        let Order { id, price, status, paid_by, paid_at, created_at, updated_at } = order;
        let (amount, currency) = amount_and_currency(price);
        Self {
            order_id: id.to_string(),
            amount,
            currency,
            status: status.into(),
            paid_by: paid_by.map(|id| id.to_string()),
            paid_at: paid_at.map(Into::into),
            created_at: created_at.into(),
            updated_at: updated_at.into(),
        }
    }
}

/// An audit entry.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Delivery)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct DeliveryDocument {
    /// `null` for an entry that a dry run would leave.
    #[schema(value_type = Option<vocabulary::DeliveryId>)]
    pub delivery_id: Option<String>,
    pub received_at: Timestamp,
    #[schema(value_type = vocabulary::Source)]
    pub source: &'static str,
    #[schema(value_type = Option<vocabulary::PaymentId>)]
    pub payment_id: Option<String>,
    #[schema(value_type = Option<vocabulary::OrderId>)]
    pub order_id: Option<String>,
    #[schema(value_type = Option<vocabulary::PaymentStatus>)]
    pub status: Option<&'static str>,
    #[schema(value_type = Option<vocabulary::PaymentStatus>)]
    pub event: Option<&'static str>,
    #[schema(value_type = Option<vocabulary::MethodName>)]
    pub payment_method: Option<String>,
    pub sent_at: Option<Timestamp>,
    #[schema(value_type = Option<vocabulary::TransactionId>)]
    pub provider_transaction_id: Option<String>,
    #[schema(value_type = Option<vocabulary::BodySha256>)]
    pub body_sha256: Option<String>,
    #[schema(value_type = Option<vocabulary::KeyName>)]
    pub key_name: Option<String>,
    #[schema(value_type = vocabulary::Outcome)]
    pub outcome: &'static str,
    pub reason: Option<String>,
    #[schema(value_type = Option<vocabulary::PaymentStatus>)]
    pub previous_status: Option<&'static str>,
    #[schema(value_type = Option<vocabulary::PaymentStatus>)]
    pub new_status: Option<&'static str>,
    #[schema(value_type = Option<vocabulary::RequestId>)]
    pub request_id: Option<String>,
}

impl From<Delivery> for DeliveryDocument {
    fn from(delivery: Delivery) -> Self {
        let Delivery { provenance, content, outcome, previous_status, new_status } = delivery;
        let Provenance { delivery_id, received_at, source, body_sha256, key_name, request_id } = provenance;
        let Payload {
            payment_id,
            order_id,
            status,
            event,
            method,
            // Kept so that a replay compares them again; the contract does not show them.
            amount: _,
            currency: _,
            sent_at,
            transaction_id,
        } = content.into();
        let word = <&'static str as From<PaymentStatus>>::from;
        Self {
            delivery_id: Some(delivery_id.to_string()),
            received_at: received_at.into(),
            source: source.into(),
            payment_id: payment_id.map(|id| id.to_string()),
            order_id: order_id.map(|id| id.to_string()),
            status: status.map(word),
            event: event.map(word),
            payment_method: method.map(|method| method.to_string()),
            sent_at: sent_at.map(Into::into),
            provider_transaction_id: transaction_id.map(|id| id.to_string()),
            body_sha256: body_sha256.map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect()),
            key_name: key_name.map(|name| name.as_str().to_owned()),
            outcome: outcome.kind().into(),
            reason: outcome.reason().map(Into::into),
            previous_status: previous_status.map(word),
            new_status: new_status.map(word),
            request_id: request_id.map(|id| id.as_str().to_owned()),
        }
    }
}

fn amount_and_currency(price: Money) -> (String, &'static str) {
    (price.amount().to_string(), price.currency().code())
}

/// What a settled callback is answered with.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Settled)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct SettledDocument {
    #[schema(schema_with = vocabulary::success)]
    pub status: &'static str,
    #[schema(value_type = vocabulary::SettledOutcome)]
    pub outcome: &'static str,
    #[schema(value_type = vocabulary::DeliveryId)]
    pub delivery_id: String,
    #[schema(value_type = Option<vocabulary::PaymentId>)]
    pub payment_id: Option<String>,
    #[schema(value_type = Option<vocabulary::OrderId>)]
    pub order_id: Option<String>,
}

impl From<Delivery> for SettledDocument {
    fn from(delivery: Delivery) -> Self {
        Self {
            status: "success",
            outcome: delivery.outcome.kind().into(),
            delivery_id: delivery.provenance.delivery_id.to_string(),
            payment_id: delivery.content.payment_id().map(ToString::to_string),
            order_id: delivery.content.order_id().map(ToString::to_string),
        }
    }
}

/// A payment with its order and its audit entries, newest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PaymentHistory)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct PaymentHistoryDocument {
    pub payment: PaymentDocument,
    pub order: OrderDocument,
    pub deliveries: Vec<DeliveryDocument>,
    /// Given where there are older entries: the `cursor` with which `GET /api/deliveries?payment=…` goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::DeliveryId, required = false)]
    pub next_cursor: Option<String>,
}

impl From<PaymentHistory> for PaymentHistoryDocument {
    fn from(history: PaymentHistory) -> Self {
        let PaymentHistory { payment, order, deliveries, next } = history;
        Self {
            payment: payment.into(),
            order: order.into(),
            deliveries: deliveries.into_iter().map(Into::into).collect(),
            next_cursor: next.map(|id| id.to_string()),
        }
    }
}

/// An order with its payments.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = OrderHistory)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct OrderHistoryDocument {
    pub order: OrderDocument,
    pub payments: Vec<PaymentDocument>,
}

impl From<OrderHistory> for OrderHistoryDocument {
    fn from(history: OrderHistory) -> Self {
        let OrderHistory { order, payments } = history;
        Self { order: order.into(), payments: payments.into_iter().map(Into::into).collect() }
    }
}

/// What a registration is answered with.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Registered)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct RegistrationDocument {
    #[schema(value_type = vocabulary::RegistrationStatus)]
    pub status: &'static str,
    /// What came of the notifications that had waited for this registration, in their order.
    #[schema(value_type = Vec<vocabulary::Outcome>)]
    pub applied: Vec<&'static str>,
    pub payment: PaymentDocument,
    pub order: OrderDocument,
}

impl RegistrationDocument {
    /// The answer: whether the payment is new, what came of the notifications that had waited, and how payment
    /// and order stand.
    #[must_use]
    pub fn new(outcome: RegistrationOutcome, applied: &[Settlement], payment: RecordedPayment, order: Order) -> Self {
        Self {
            status: outcome.into(),
            applied: applied.iter().map(|settlement| settlement.delivery.outcome.kind().into()).collect(),
            payment: payment.into(),
            order: order.into(),
        }
    }
}

/// A page of the audit trail.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Deliveries)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct DeliveriesDocument {
    pub deliveries: Vec<DeliveryDocument>,
    #[schema(value_type = Option<vocabulary::DeliveryId>)]
    pub next_cursor: Option<String>,
}

impl DeliveriesDocument {
    /// The page of the first `limit`; where more are given, another page follows.
    #[must_use]
    pub fn page(mut deliveries: Vec<Delivery>, limit: usize) -> Self {
        let more = deliveries.len() > limit;
        deliveries.truncate(limit);
        let last = deliveries.last().filter(|_| more);
        let next_cursor = last.map(|delivery| delivery.provenance.delivery_id.to_string());
        Self { deliveries: deliveries.into_iter().map(Into::into).collect(), next_cursor }
    }
}

/// What a replay is answered with.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Replay)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct ReplayDocument {
    #[schema(value_type = vocabulary::Outcome)]
    pub outcome: &'static str,
    pub dry_run: bool,
    pub delivery: DeliveryDocument,
    pub payment: Option<PaymentDocument>,
    pub order: Option<OrderDocument>,
}

impl TryFrom<Replay> for ReplayDocument {
    type Error = LedgerError;

    fn try_from(replay: Replay) -> Result<Self, LedgerError> {
        let Replay { dry_run, settlement, afterwards } = replay;
        let outcome = settlement.delivery.outcome.kind().into();
        let mut delivery = DeliveryDocument::from(settlement.delivery);
        if dry_run {
            delivery.delivery_id = None;
        }
        let (payment, order) = afterwards?.unzip();
        Ok(Self { outcome, dry_run, delivery, payment: payment.map(Into::into), order: order.map(Into::into) })
    }
}

/// An event: what the portal was or will be told.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct EventDocument {
    #[schema(value_type = vocabulary::EventId)]
    pub event_id: String,
    #[schema(value_type = vocabulary::EventType)]
    pub r#type: &'static str,
    #[schema(value_type = vocabulary::OrderId)]
    pub order_id: String,
    #[schema(value_type = vocabulary::PaymentId)]
    pub payment_id: String,
    #[schema(value_type = vocabulary::EventState)]
    pub state: &'static str,
    /// How many there have been.
    #[schema(minimum = 0)]
    pub attempts: i64,
    pub created_at: Timestamp,
    /// Given while it is `pending`. Older events of its order come first.
    pub next_attempt_at: Option<Timestamp>,
    pub delivered_at: Option<Timestamp>,
    /// Why the last attempt failed, if it did.
    pub last_error: Option<String>,
}

impl From<EventStatus> for EventDocument {
    fn from(status: EventStatus) -> Self {
        let EventStatus { event, state, attempts, next_attempt_at, delivered_at, last_error } = status;
        // The contract shows what it says of the payment only to the portal.
        let Event { id, kind, order_id, payment_id, paid_at: _, created_at } = event;
        Self {
            event_id: id.to_string(),
            r#type: kind.into(),
            order_id: order_id.to_string(),
            payment_id: payment_id.to_string(),
            state: state.into(),
            attempts,
            created_at: created_at.into(),
            next_attempt_at: next_attempt_at.map(Into::into),
            delivered_at: delivered_at.map(Into::into),
            last_error,
        }
    }
}

/// An event with the attempts to deliver it, newest first, at most 100.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = EventHistory)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct EventHistoryDocument {
    #[serde(flatten)]
    pub event: EventDocument,
    pub history: Vec<EventAttemptDocument>,
}

impl From<EventHistory> for EventHistoryDocument {
    fn from(history: EventHistory) -> Self {
        let EventHistory { status, attempts } = history;
        Self { event: status.into(), history: attempts.into_iter().map(Into::into).collect() }
    }
}

/// An attempt to deliver an event.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EventAttempt)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct EventAttemptDocument {
    pub attempted_at: Timestamp,
    pub duration_ms: u64,
    /// What the portal answered, if it did.
    pub status: Option<u16>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

impl From<EventAttempt> for EventAttemptDocument {
    fn from(attempt: EventAttempt) -> Self {
        let EventAttempt { attempted_at, duration, status, error } = attempt;
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self { attempted_at: attempted_at.into(), duration_ms, status, error }
    }
}

/// A page of events.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Events)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct EventsDocument {
    pub events: Vec<EventDocument>,
    #[schema(value_type = Option<vocabulary::EventId>)]
    pub next_cursor: Option<String>,
}

impl EventsDocument {
    /// The page of the first `limit`; where more are given, another page follows.
    #[must_use]
    pub fn page(mut events: Vec<EventStatus>, limit: usize) -> Self {
        let more = events.len() > limit;
        events.truncate(limit);
        let next_cursor = events.last().filter(|_| more).map(|status| status.event.id.to_string());
        Self { events: events.into_iter().map(Into::into).collect(), next_cursor }
    }
}

/// What a redelivery of many events is answered with.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Redelivered)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct RedeliveredDocument {
    /// At most 10,000.
    pub matched: usize,
    pub redelivered: usize,
    pub dry_run: bool,
}

impl From<RedeliveredEvents> for RedeliveredDocument {
    fn from(result: RedeliveredEvents) -> Self {
        let RedeliveredEvents { matched, redelivered, dry_run } = result;
        Self { matched, redelivered, dry_run }
    }
}
