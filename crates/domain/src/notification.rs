//! What a sender reports about a payment.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

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

impl Notification {
    /// What it has in common with the same notification when it comes again.
    #[must_use]
    pub fn identity(&self) -> NotificationIdentity {
        let (status, event) = self.report.words();
        // By value: 29.90 is 29.9.
        let amount = self.amount.map(|amount| match amount.to_string().split_once('.') {
            Some((whole, fraction)) => format!("{whole}.{}", fraction.trim_end_matches('0')),
            None => format!("{amount}."),
        });
        let mut parts = vec![
            self.order_id.to_string(),
            status.to_string(),
            event.to_string(),
            amount.unwrap_or_default(),
            self.currency.map(|currency| currency.to_string()).unwrap_or_default(),
        ];
        if self.report == Report::PartialRefund {
            parts.push(self.sent_at.to_rfc3339_opts(SecondsFormat::Micros, true));
            parts.extend(self.transaction_id.as_ref().map(ToString::to_string));
        }
        NotificationIdentity(parts.join("\n"))
    }
}

/// What tells the notifications of one payment apart: order, report, amount and currency, and of a partial refund
/// its time and transaction as well, for a payment can have many. Applied again, the same notification changes
/// nothing (contract §4). The time of any other report does not count: a redelivery has a new one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotificationIdentity(String);

impl fmt::Display for NotificationIdentity {
    /// One line for each part. No part contains a line break, so different identities have different texts.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
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

impl From<Notification> for Payload {
    fn from(notification: Notification) -> Self {
        let Notification { payment_id, order_id, report, method, amount, currency, sent_at, transaction_id } =
            notification;
        let (status, event) = report.words();
        Self {
            payment_id: Some(payment_id),
            order_id: Some(order_id),
            status: Some(status),
            event: Some(event),
            method,
            amount,
            currency,
            sent_at: Some(sent_at),
            transaction_id,
        }
    }
}

/// What an audit entry keeps of a callback's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A notification, whatever came of it.
    Notification(Notification),
    /// What could be read of a body that is none: the outcome is [`Invalid`](crate::Outcome::Invalid).
    Fragments(Payload),
}

impl Content {
    /// The payment that it names.
    #[must_use]
    pub fn payment_id(&self) -> Option<&PaymentId> {
        match self {
            Self::Notification(notification) => Some(&notification.payment_id),
            Self::Fragments(payload) => payload.payment_id.as_ref(),
        }
    }

    /// The order that it names.
    #[must_use]
    pub fn order_id(&self) -> Option<&OrderId> {
        match self {
            Self::Notification(notification) => Some(&notification.order_id),
            Self::Fragments(payload) => payload.order_id.as_ref(),
        }
    }
}

impl From<Content> for Payload {
    fn from(content: Content) -> Self {
        match content {
            Content::Notification(notification) => notification.into(),
            Content::Fragments(payload) => payload,
        }
    }
}
