use chrono::{DateTime, Utc};
use domain::{Delivery, DeliveryId, ExternalPayment, MethodRecord, Order, OrderId, OutcomeKind, PaymentId};

use crate::LedgerError;

/// The most deliveries that are read with a payment; the newest ones. [`History::deliveries`] has the others.
pub const HISTORY_MAX: i64 = 500;

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
