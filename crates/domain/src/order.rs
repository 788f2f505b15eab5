//! Orders.

use chrono::{DateTime, Utc};

use crate::{Money, OrderId, OrderStatus, PaymentId, UnappliedReason};

/// An order of the portal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The portal's id.
    pub id: OrderId,
    /// What it costs: the amount of its first registered payment.
    pub price: Money,
    /// What became of it.
    pub status: OrderStatus,
    /// The one payment that paid it.
    pub paid_by: Option<PaymentId>,
    /// When it was paid.
    pub paid_at: Option<DateTime<Utc>>,
    /// When its first payment was registered.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl Order {
    /// An order that waits for a payment.
    #[must_use]
    pub fn open(id: OrderId, price: Money, now: DateTime<Utc>) -> Self {
        Self { id, price, status: OrderStatus::Pending, paid_by: None, paid_at: None, created_at: now, updated_at: now }
    }

    /// Marks it as paid by this payment.
    ///
    /// # Errors
    /// Why not; the order stays as it is.
    pub fn pay(&mut self, payment: &PaymentId, now: DateTime<Utc>) -> Result<(), UnappliedReason> {
        if let Some(obstacle) = UnappliedReason::of(self.status) {
            return Err(obstacle);
        }
        self.status = OrderStatus::Paid;
        self.paid_by = Some(payment.clone());
        self.paid_at = Some(now);
        self.updated_at = now;
        Ok(())
    }

    /// Takes the payment back, if it was this one that paid; says whether it was.
    pub fn refund(&mut self, payment: &PaymentId, now: DateTime<Utc>) -> bool {
        let paid_by_it = self.status == OrderStatus::Paid && self.paid_by.as_ref() == Some(payment);
        if paid_by_it {
            self.status = OrderStatus::Refunded;
            self.updated_at = now;
        }
        paid_by_it
    }
}
