//! What the portal must be told.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use strum::{Display, EnumString, IntoStaticStr, VariantArray, VariantNames};
use uuid::Uuid;

use crate::{DeliveryId, OrderId, PaymentId};

/// The id of an event, the same at every attempt to send it: a version 7 UUID, by which a receiver recognises a
/// repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub Uuid);

impl EventId {
    /// That of the event of this kind which the notification with this audit entry led to; it leads to at most one of
    /// each kind. It begins with the same time. The bits that differ are neither the version nor the last ones, which
    /// count the entries of one moment.
    #[must_use]
    pub fn of(delivery_id: DeliveryId, kind: EventKind) -> Self {
        Self(Uuid::from_u128(delivery_id.0.as_u128() ^ ((kind as u128 + 1) << 56)))
    }

    /// Reads the usual text form; `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What an event is about (contract §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumString, IntoStaticStr, VariantArray)]
#[expect(missing_docs, reason = "the words say it")]
pub enum EventKind {
    #[strum(serialize = "order.paid")]
    OrderPaid,
    #[strum(serialize = "payment.failed")]
    PaymentFailed,
    #[strum(serialize = "payment.cancelled")]
    PaymentCancelled,
    #[strum(serialize = "payment.refunded")]
    PaymentRefunded,
    #[strum(serialize = "payment.partially_refunded")]
    PaymentPartiallyRefunded,
    #[strum(serialize = "payment.unapplied")]
    PaymentUnapplied,
}

/// Something that happened and that the portal must be told, written in the transaction in which it
/// happened. What else the portal is told is in the payment and never changes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// To which order.
    pub order_id: OrderId,
    /// By which payment.
    pub payment_id: PaymentId,
    /// When the money had come in, if it had.
    pub paid_at: Option<DateTime<Utc>>,
    /// When it happened.
    pub created_at: DateTime<Utc>,
}

/// How far the portal has been told of an event (contract §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum EventState {
    /// It has to be sent, for the first time or again.
    Pending,
    /// The portal has acknowledged it.
    Delivered,
    /// Every attempt failed, or the portal wants it no more. It holds up no other event.
    Dead,
}

/// One attempt to send an event, as it is kept. Nothing of the answer's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventAttempt {
    /// When it began.
    pub attempted_at: DateTime<Utc>,
    /// How long it took.
    pub duration: Duration,
    /// The status that the portal answered, if it did.
    pub status: Option<u16>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}
