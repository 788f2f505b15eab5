//! What the portal expects to be paid.

use chrono::{DateTime, Utc};

use crate::{ExternalPayment, Money, OrderId, PaymentId, PaymentMethod, PaymentStatus, RecordDetails, RedirectUrl};

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
