//! What the portal expects to be paid.

use chrono::{DateTime, Utc};

use crate::{
    ExternalPayment, Money, OrderId, PaymentId, PaymentMethod, PaymentStatus, RecordDetails, RedirectUrl, TextError,
};

/// Why an id cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NewIdError {
    /// It is no id.
    #[error(transparent)]
    Text(#[from] TextError),
    /// What is registered is read under a path that ends in its id.
    #[error("must not be \"{0}\", which could not be read back under its own path")]
    Unreadable(&'static str),
}

/// Clients and proxies take these segments out of a path, encoded or not (RFC 3986 §5.2.4).
const DOT_SEGMENTS: [&str; 2] = [".", ".."];

/// `/api/payments/webhook` is where callbacks come in.
const PATHS_BESIDE_PAYMENTS: [&str; 1] = ["webhook"];

/// Reads the id of a payment that is to be registered.
///
/// # Errors
/// See [`NewIdError`].
pub fn parse_new_payment_id(text: &str) -> Result<PaymentId, NewIdError> {
    refuse(text, DOT_SEGMENTS.into_iter().chain(PATHS_BESIDE_PAYMENTS))?;
    Ok(PaymentId::parse(text)?)
}

/// Reads the id of an order that is to be registered.
///
/// # Errors
/// See [`NewIdError`].
pub fn parse_new_order_id(text: &str) -> Result<OrderId, NewIdError> {
    refuse(text, DOT_SEGMENTS.into_iter())?;
    Ok(OrderId::parse(text)?)
}

fn refuse(text: &str, mut unreadable: impl Iterator<Item = &'static str>) -> Result<(), NewIdError> {
    unreadable.find(|id| *id == text).map_or(Ok(()), |id| Err(NewIdError::Unreadable(id)))
}

/// A payment that the portal expects, after payments-microservice made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The id that payments-microservice gave it.
    pub payment_id: PaymentId,
    /// The order that it is for.
    pub order_id: OrderId,
    /// What is to be paid.
    pub price: Money,
    /// How it is made.
    pub method: PaymentMethod,
    /// Where the portal sends the customer.
    pub redirect_url: Option<RedirectUrl>,
    /// What the method's own record needs.
    pub details: RecordDetails,
}

impl Registration {
    /// Whether it says the same as when this payment was registered; the optional fields may differ.
    #[must_use]
    pub fn matches(&self, payment: &ExternalPayment) -> bool {
        self.order_id == payment.order_id && self.price == payment.price && self.method == payment.method
    }

    /// The payment as it begins.
    #[must_use]
    pub fn payment(&self, now: DateTime<Utc>) -> ExternalPayment {
        ExternalPayment {
            id: self.payment_id.clone(),
            order_id: self.order_id.clone(),
            method: self.method,
            price: self.price,
            status: PaymentStatus::Pending,
            redirect_url: self.redirect_url.clone(),
            transaction_id: None,
            created_at: now,
            updated_at: now,
            paid_at: None,
        }
    }
}
