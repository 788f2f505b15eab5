//! Statuses and payment methods.

use std::str::FromStr;

use strum::{Display, EnumString, IntoStaticStr, VariantArray, VariantNames};

/// How far a payment has come. The order of the variants is the rule (contract §4): a payment only moves
/// to a greater status, so any order and repetition of the same notifications ends in the same status.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
    VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum PaymentStatus {
    /// Registered; no notification yet.
    Pending,
    /// The provider is working on it.
    Processing,
    /// The provider gave up.
    Failed,
    /// The customer or the shop gave up.
    Cancelled,
    /// The money is in.
    Completed,
    /// All of the money went back.
    Refunded,
}

impl PaymentStatus {
    /// Whether it can still end: neither failed, cancelled nor completed.
    #[must_use]
    pub fn is_open(self) -> bool {
        self < Self::Failed
    }

    /// The statuses of a payment that can still end.
    pub fn open() -> impl Iterator<Item = Self> {
        <Self as VariantArray>::VARIANTS.iter().copied().filter(|status| status.is_open())
    }
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum OrderStatus {
    /// Waits for a payment.
    Pending,
    /// Paid by exactly one payment.
    Paid,
    /// Given up by the portal before it was paid.
    Cancelled,
    /// The payment that paid it was refunded.
    Refunded,
}

/// How a payment is made: the four methods that have a record of their own, and the other providers that
/// payments-microservice offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray, VariantNames)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the providers' own")]
pub enum PaymentMethod {
    Webpay,
    Inner,
    Invoice,
    Paypal,
    Card,
    Stripe,
    Payu,
    Fiobanka,
    Comgate,
}

/// The text is none of the words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {}", .words.join(", "))]
pub struct WordError {
    words: &'static [&'static str],
}

/// All words of an enumeration, in its order.
pub fn words<T: VariantArray + Copy + Into<&'static str>>() -> impl Iterator<Item = &'static str> {
    T::VARIANTS.iter().copied().map(Into::into)
}

/// Reads one of the words of an enumeration.
///
/// # Errors
/// [`WordError`] lists the words.
pub fn parse_word<T: FromStr + VariantNames>(text: &str) -> Result<T, WordError> {
    text.parse().map_err(|_| WordError { words: T::VARIANTS })
}
