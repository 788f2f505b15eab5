//! What a sender reports about a payment.

use chrono::{DateTime, Utc};

use crate::{Currency, Decimal, MethodName, OrderId, PaymentId, PaymentStatus, TransactionId};

/// What happened, as the pair of `status` and `event` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The payment has reached this status.
    Reached(PaymentStatus),
    /// Part of a completed payment went back. payments-microservice says so with `status: completed,
    /// event: refunded`.
    PartialRefund,
}

impl Report {
    /// Reads the pair; `None` when the words contradict each other.
    #[must_use]
    pub fn from_words(status: PaymentStatus, event: PaymentStatus) -> Option<Self> {
        match (status, event) {
            (PaymentStatus::Completed, PaymentStatus::Refunded) => Some(Self::PartialRefund),
            (status, event) => (status == event).then_some(Self::Reached(status)),
        }
    }

    /// Whether money went back, all of it or part of it.
    #[must_use]
    pub fn is_refund(self) -> bool {
        matches!(self, Self::PartialRefund | Self::Reached(PaymentStatus::Refunded))
    }

    /// The pair of `status` and `event`.
    #[must_use]
    pub fn words(self) -> (PaymentStatus, PaymentStatus) {
        match self {
            Self::Reached(status) => (status, status),
            Self::PartialRefund => (PaymentStatus::Completed, PaymentStatus::Refunded),
        }
    }
}

/// A notification that can be settled: all that it must say is there and is well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Which payment.
    pub payment_id: PaymentId,
    /// The order that the sender thinks it pays.
    pub order_id: OrderId,
    /// What happened.
    pub report: Report,
    /// The method that the sender thinks was used, in its own word.
    pub method: Option<MethodName>,
    /// The amount that the sender thinks was paid; of a refund, what was refunded.
    pub amount: Option<Decimal>,
    /// Its currency.
    pub currency: Option<Currency>,
    /// The sender's own time. A redelivery has a new one, so it identifies nothing.
    pub sent_at: DateTime<Utc>,
    /// The provider's id of the transaction.
    pub transaction_id: Option<TransactionId>,
}

/// What could be read of a notification: of a valid one everything, of an invalid one perhaps little.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `Notification`")]
pub struct Payload {
    pub payment_id: Option<PaymentId>,
    pub order_id: Option<OrderId>,
    pub status: Option<PaymentStatus>,
    pub event: Option<PaymentStatus>,
    pub method: Option<MethodName>,
    pub amount: Option<Decimal>,
    pub currency: Option<Currency>,
    pub sent_at: Option<DateTime<Utc>>,
    pub transaction_id: Option<TransactionId>,
}

impl Payload {
    /// The notification, if nothing that it must say is missing.
    #[must_use]
    pub fn notification(&self) -> Option<Notification> {
        let Self { payment_id, order_id, status, event, method, amount, currency, sent_at, transaction_id } = self;
        Some(Notification {
            payment_id: payment_id.clone()?,
            order_id: order_id.clone()?,
            report: Report::from_words((*status)?, (*event)?)?,
            method: method.clone(),
            amount: *amount,
            currency: *currency,
            sent_at: (*sent_at)?,
            transaction_id: transaction_id.clone(),
        })
    }
}

impl From<&Notification> for Payload {
    fn from(notification: &Notification) -> Self {
        let Notification { payment_id, order_id, report, method, amount, currency, sent_at, transaction_id } =
            notification;
        let (status, event) = report.words();
        Self {
            payment_id: Some(payment_id.clone()),
            order_id: Some(order_id.clone()),
            status: Some(status),
            event: Some(event),
            method: method.clone(),
            amount: *amount,
            currency: *currency,
            sent_at: Some(*sent_at),
            transaction_id: transaction_id.clone(),
        }
    }
}
