//! The audit trail: one entry for each notification about a payment and its outcome.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use strum::{Display, EnumDiscriminants, EnumString, IntoStaticStr, VariantArray, VariantNames};
use uuid::Uuid;

use crate::{Content, Notification, OrderStatus, PaymentStatus};

/// The id of an audit entry: a version 7 UUID, made as its outcome is decided, so that ids sort
/// in the order of the decisions. It is never older than the time of receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub Uuid);

impl DeliveryId {
    /// The smallest id that can have been given at this time or later.
    #[must_use]
    pub fn first_at(time: DateTime<Utc>) -> Self {
        let millis = u64::try_from(time.timestamp_millis()).unwrap_or(0);
        Self(Uuid::from_u128(u128::from(millis) << 80))
    }

    /// Reads the usual text form; `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The public name of a key: it tells keys apart in logs and in the audit trail and gives nothing away.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Names the key with this SHA-256: `k-` and the first eight hex digits.
    #[must_use]
    pub fn from_sha256(digest: &[u8; 32]) -> Self {
        let [a, b, c, d, ..] = digest;
        Self(format!("k-{a:02x}{b:02x}{c:02x}{d:02x}"))
    }

    /// A name that was stored before.
    #[must_use]
    pub fn from_stored(name: String) -> Self {
        Self(name)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id under which everything about one request is logged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// Takes 1 to 128 characters of `A-Za-z0-9._:-`; anything else is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        ((1..=128).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Uuid> for RequestId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid.to_string())
    }
}

/// Who brought a notification before the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Source {
    /// A sender posted it.
    Callback,
    /// It had waited for its payment to be registered.
    Parked,
    /// An operator applied a stored one again.
    Replay,
}

/// Where a notification contradicts the registered payment, in the order in which it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Mismatch {
    /// It names another order.
    OrderMismatch,
    /// It names another amount.
    AmountMismatch,
    /// It names another currency.
    CurrencyMismatch,
}

/// Why an order could not be paid although the money arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum UnappliedReason {
    /// Another payment has paid it.
    OrderPaid,
    /// It was cancelled.
    OrderCancelled,
    /// It was paid and refunded.
    OrderRefunded,
}

impl UnappliedReason {
    /// Why an order of this status cannot be paid; `None` if it can.
    #[must_use]
    pub fn of(status: OrderStatus) -> Option<Self> {
        match status {
            OrderStatus::Pending => None,
            OrderStatus::Paid => Some(Self::OrderPaid),
            OrderStatus::Cancelled => Some(Self::OrderCancelled),
            OrderStatus::Refunded => Some(Self::OrderRefunded),
        }
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, EnumDiscriminants)]
#[strum_discriminants(
    name(OutcomeKind),
    doc = "The word for an outcome.",
    derive(Hash, Display, EnumString, IntoStaticStr, VariantArray, VariantNames),
    strum(serialize_all = "snake_case")
)]
pub enum Outcome {
    /// The payment is being worked on.
    Processing,
    /// The payment failed.
    Failed,
    /// The payment was cancelled.
    Cancelled,
    /// The payment is completed and paid its order.
    Completed,
    /// The payment was refunded.
    Refunded,
    /// Part of the payment was refunded.
    PartiallyRefunded,
    /// Known already; nothing changed.
    Duplicate,
    /// Would have gone backwards; nothing changed.
    Ignored,
    /// The money arrived, but the order could not be paid: an operator must look.
    Unapplied(UnappliedReason),
    /// No such payment is registered yet; kept until it is.
    Parked,
    /// It contradicts the registered payment; nothing changed.
    Rejected(Mismatch),
    /// The body could not be understood; the text names the bad fields, never their values.
    Invalid(String),
}

impl Outcome {
    /// The word for it.
    #[must_use]
    pub fn kind(&self) -> OutcomeKind {
        self.into()
    }

    /// What the word leaves open.
    #[must_use]
    pub fn reason(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Unapplied(obstacle) => Some(Cow::Borrowed(obstacle.into())),
            Self::Rejected(mismatch) => Some(Cow::Borrowed(mismatch.into())),
            Self::Invalid(reason) => Some(Cow::Borrowed(reason)),
            Self::Processing
            | Self::Failed
            | Self::Cancelled
            | Self::Completed
            | Self::Refunded
            | Self::PartiallyRefunded
            | Self::Duplicate
            | Self::Ignored
            | Self::Parked => None,
        }
    }

    /// Puts the outcome together again from its word and reason; `None` if they do not fit.
    #[must_use]
    pub fn from_parts(kind: OutcomeKind, reason: Option<&str>) -> Option<Self> {
        Some(match kind {
            OutcomeKind::Processing => Self::Processing,
            OutcomeKind::Failed => Self::Failed,
            OutcomeKind::Cancelled => Self::Cancelled,
            OutcomeKind::Completed => Self::Completed,
            OutcomeKind::Refunded => Self::Refunded,
            OutcomeKind::PartiallyRefunded => Self::PartiallyRefunded,
            OutcomeKind::Duplicate => Self::Duplicate,
            OutcomeKind::Ignored => Self::Ignored,
            OutcomeKind::Parked => Self::Parked,
            OutcomeKind::Unapplied => Self::Unapplied(reason?.parse().ok()?),
            OutcomeKind::Rejected => Self::Rejected(reason?.parse().ok()?),
            OutcomeKind::Invalid => Self::Invalid(reason?.to_owned()),
        })
    }
}

/// What an outcome means to those who answer, log, exit and query: the one classification of them. An outcome that is
/// added must be put into a class; where it needs another treatment, add a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum OutcomeClass {
    /// Applied to its payment, or known already. Answered with 200, logged as info, exit code 0; in SQL found by its
    /// payment.
    Settled,
    /// Applied to its payment, and an operator must look at what came of it. Answered with 200, since sending it again
    /// would not help; logged as a warning, exit code 0; in SQL found by its payment.
    NeedsOperator,
    /// Kept until its payment is registered. Answered with 404, so that the sender sends it again; logged as a warning,
    /// exit code 1; in SQL found by the ids that it names.
    Parked,
    /// Changes nothing, however often it is sent. Answered with 4xx, logged as a warning, exit code 1; in SQL found by
    /// the ids that it names, which may not be those of the payment.
    Refused,
}

impl OutcomeClass {
    /// Whether the notification was applied to its payment, so that it is one of that payment and of its order.
    #[must_use]
    pub fn is_applied(self) -> bool {
        match self {
            Self::Settled | Self::NeedsOperator => true,
            Self::Parked | Self::Refused => false,
        }
    }
}

impl OutcomeKind {
    /// What it means to those who answer, log, exit and query.
    #[must_use]
    pub fn class(self) -> OutcomeClass {
        match self {
            Self::Processing
            | Self::Failed
            | Self::Cancelled
            | Self::Completed
            | Self::Refunded
            | Self::PartiallyRefunded
            | Self::Duplicate
            | Self::Ignored => OutcomeClass::Settled,
            Self::Unapplied => OutcomeClass::NeedsOperator,
            Self::Parked => OutcomeClass::Parked,
            Self::Rejected | Self::Invalid => OutcomeClass::Refused,
        }
    }

    /// Those of notifications that were not applied to a payment.
    pub fn not_applied() -> impl Iterator<Item = Self> {
        <Self as VariantArray>::VARIANTS.iter().copied().filter(|kind| !kind.class().is_applied())
    }
}

/// How and when a delivery came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The id of the audit entry.
    pub delivery_id: DeliveryId,
    /// When it came in; also the time at which it takes effect.
    pub received_at: DateTime<Utc>,
    /// Who brought it.
    pub source: Source,
    /// SHA-256 of the body, to recognise it without keeping it.
    pub body_sha256: Option<[u8; 32]>,
    /// The key that authenticated it.
    pub key_name: Option<KeyName>,
    /// The request that brought it.
    pub request_id: Option<RequestId>,
}

/// An entry of the audit trail. Never the body, nor anything about the customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// How and when it came in.
    pub provenance: Provenance,
    /// Its content: a notification, unless the outcome is [`Outcome::Invalid`].
    pub content: Content,
    /// What became of it.
    pub outcome: Outcome,
    /// The payment's status before, if the payment is known.
    pub previous_status: Option<PaymentStatus>,
    /// The payment's status after, if the payment is known.
    pub new_status: Option<PaymentStatus>,
}

impl Delivery {
    /// The notification, if it waits for its payment to be registered.
    #[must_use]
    pub fn parked(&self) -> Option<ParkedNotification> {
        match (&self.content, &self.outcome) {
            (Content::Notification(notification), Outcome::Parked) => {
                Some(ParkedNotification { provenance: self.provenance.clone(), notification: notification.clone() })
            }
            _ => None,
        }
    }
}

/// A notification that waits for its payment to be registered, as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedNotification {
    /// How and when it came in.
    pub provenance: Provenance,
    /// Its content.
    pub notification: Notification,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_taken_only_in_the_contract_s_alphabet() {
        for text in ["a", "Az09._:-", &"x".repeat(128)] {
            assert_eq!(RequestId::parse(text).expect("valid").as_str(), text);
        }
        for text in ["", "a b", "ě", "a\n", "a/b", &"x".repeat(129)] {
            assert_eq!(RequestId::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_key_s_name_is_the_start_of_its_digest() {
        let mut digest = [0; 32];
        digest[..5].copy_from_slice(&[0xde, 0xad, 0xbe, 0x0f, 0xff]);
        assert_eq!(KeyName::from_sha256(&digest).as_str(), "k-deadbe0f");
    }

    #[test]
    fn an_outcome_survives_its_word_and_reason() {
        for outcome in [
            Outcome::Completed,
            Outcome::Duplicate,
            Outcome::Unapplied(UnappliedReason::OrderCancelled),
            Outcome::Rejected(Mismatch::AmountMismatch),
            Outcome::Invalid("status: is missing".to_owned()),
        ] {
            assert_eq!(Outcome::from_parts(outcome.kind(), outcome.reason().as_deref()), Some(outcome));
        }
        assert_eq!(Outcome::from_parts(OutcomeKind::Rejected, Some("order_paid")), None);
        assert_eq!(Outcome::from_parts(OutcomeKind::Unapplied, None), None);
    }
}
