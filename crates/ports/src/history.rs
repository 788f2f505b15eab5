use chrono::{DateTime, Utc};
use domain::{
    Delivery, DeliveryId, Event, EventAttempt, EventId, EventState, ExternalPayment, MethodRecord, Order, OrderId,
    OutcomeKind, PaymentId,
};

use crate::LedgerError;

/// The most deliveries that are read with a payment; the newest ones. [`History::deliveries`] has the others.
pub const HISTORY_MAX: i64 = 500;

/// The most attempts that are read with an event; the newest ones.
pub const ATTEMPTS_MAX: i64 = 100;

/// What is stored, for reading. Each answer is of one moment. Every method blocks and fails as [`LedgerError`] says.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait History: Send + Sync {
    /// One payment with all that belongs to it; at most [`HISTORY_MAX`] deliveries.
    fn payment(&self, id: &PaymentId) -> Result<Option<PaymentHistory>, LedgerError>;

    /// One payment and its order.
    fn payment_and_order(&self, id: &PaymentId) -> Result<Option<(RecordedPayment, Order)>, LedgerError>;

    /// One order with all its payments.
    fn order(&self, id: &OrderId) -> Result<Option<OrderHistory>, LedgerError>;

    /// One audit entry.
    fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, LedgerError>;

    /// Audit entries, newest first.
    fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<Delivery>, LedgerError>;

    /// One event with its newest attempts, at most [`ATTEMPTS_MAX`].
    fn event(&self, id: EventId) -> Result<Option<EventHistory>, LedgerError>;

    /// Events, newest first.
    fn events(&self, filter: &EventFilter) -> Result<Vec<EventStatus>, LedgerError>;
}

/// A payment and the record that its method keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedPayment {
    /// The payment.
    pub payment: ExternalPayment,
    /// Its method's record; `None` for the providers that have none.
    pub record: Option<MethodRecord>,
}

/// A payment with all that belongs to it, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentHistory {
    /// The payment.
    pub payment: RecordedPayment,
    /// Its order.
    pub order: Order,
    /// Its audit entries, newest first, at most [`HISTORY_MAX`].
    pub deliveries: Vec<Delivery>,
    /// The last of these deliveries, if there are older ones: where the next page begins.
    pub next: Option<DeliveryId>,
}

impl PaymentHistory {
    /// The history whose deliveries begin with these, of which the first [`HISTORY_MAX`] are shown.
    #[must_use]
    pub fn new(payment: RecordedPayment, order: Order, mut deliveries: Vec<Delivery>) -> Self {
        let most = usize::try_from(HISTORY_MAX).unwrap_or(usize::MAX);
        let more = deliveries.len() > most;
        deliveries.truncate(most);
        let next = deliveries.last().filter(|_| more).map(|delivery| delivery.provenance.delivery_id);
        Self { payment, order, deliveries, next }
    }
}

/// An order with all its payments, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderHistory {
    /// The order.
    pub order: Order,
    /// Its payments, in the order of their registration.
    pub payments: Vec<RecordedPayment>,
}

/// Which audit entries are wanted. What is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Those that name this payment.
    pub payment: Option<PaymentId>,
    /// Those that name this order.
    pub order: Option<OrderId>,
    /// Those with this outcome.
    pub outcome: Option<OutcomeKind>,
    /// Those received at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Those older than this one: where the last page ended.
    pub before: Option<DeliveryId>,
    /// At most so many.
    pub limit: i64,
}

impl DeliveryFilter {
    /// The newest of all.
    #[must_use]
    pub fn newest(limit: i64) -> Self {
        Self { payment: None, order: None, outcome: None, since: None, before: None, limit }
    }
}

/// An event and how far the portal has been told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventStatus {
    /// The event.
    pub event: Event,
    /// How far.
    pub state: EventState,
    /// How many attempts there have been.
    pub attempts: i64,
    /// When the next attempt is due, while it is pending. It may have to wait for others of its order.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When the portal acknowledged it, if it is delivered.
    pub delivered_at: Option<DateTime<Utc>>,
    /// Why the last attempt failed, if it did.
    pub last_error: Option<String>,
}

/// An event with its attempts, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHistory {
    /// The event.
    pub status: EventStatus,
    /// The newest attempts, newest first, at most [`ATTEMPTS_MAX`].
    pub attempts: Vec<EventAttempt>,
}

/// Which events are wanted. What is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// Those in this state.
    pub state: Option<EventState>,
    /// Those of this order.
    pub order: Option<OrderId>,
    /// Those of this payment.
    pub payment: Option<PaymentId>,
    /// Those that happened at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Those older than this one: where the last page ended.
    pub before: Option<EventId>,
    /// At most so many.
    pub limit: i64,
}

impl EventFilter {
    /// Any events.
    #[must_use]
    pub fn any(limit: i64) -> Self {
        Self { state: None, order: None, payment: None, since: None, before: None, limit }
    }
}
