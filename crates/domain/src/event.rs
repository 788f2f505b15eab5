//! What the portal must be told.

use chrono::{DateTime, Utc};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

use crate::{OrderId, PaymentId};

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
