//! The payment that the portal expects and payments-microservice reports on.

use chrono::{DateTime, Utc};

use crate::{
    Mismatch, Money, Notification, Order, OrderId, PaymentId, PaymentMethod, PaymentStatus, RedirectUrl, TransactionId,
    UnappliedReason,
};

/// A payment that is made elsewhere, as the portal registered it and as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalPayment {
    /// The id that payments-microservice gave it.
    pub id: PaymentId,
    /// The order that it is for.
    pub order_id: OrderId,
    /// How it is made.
    pub method: PaymentMethod,
    /// What is to be paid.
    pub price: Money,
    /// How far it has come.
    pub status: PaymentStatus,
    /// Where the portal sends the customer.
    pub redirect_url: Option<RedirectUrl>,
    /// The provider's id of the transaction that brought it to its status.
    pub transaction_id: Option<TransactionId>,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When the money came in.
    pub paid_at: Option<DateTime<Utc>>,
}

impl ExternalPayment {
    /// Where the notification contradicts what was registered; the first of order, amount and currency. A refund
    /// names what was refunded, which may be less (contract §3).
    #[must_use]
    pub fn contradiction(&self, notification: &Notification) -> Option<Mismatch> {
        let price = self.price.amount();
        let differs = |amount| if notification.report.is_refund() { amount > price } else { amount != price };
        if notification.order_id != self.order_id {
            Some(Mismatch::OrderMismatch)
        } else if notification.amount.is_some_and(differs) {
            Some(Mismatch::AmountMismatch)
        } else if notification.currency.is_some_and(|currency| currency != self.price.currency()) {
            Some(Mismatch::CurrencyMismatch)
        } else {
            None
        }
    }

    /// Moves up to a status below completion. Nothing is paid by this.
    pub fn advance(&mut self, status: PaymentStatus, transaction_id: Option<&TransactionId>, now: DateTime<Utc>) {
        self.status = status;
        self.updated_at = now;
        if let Some(id) = transaction_id {
            self.transaction_id = Some(id.clone());
        }
    }

    /// The money is in: completes the payment and pays its order.
    ///
    /// # Errors
    /// Why the order cannot be paid; the payment is completed all the same.
    pub fn pay(
        &mut self,
        order: &mut Order,
        transaction_id: Option<&TransactionId>,
        now: DateTime<Utc>,
    ) -> Result<(), UnappliedReason> {
        self.advance(PaymentStatus::Completed, transaction_id, now);
        self.paid_at = Some(now);
        order.pay(&self.id, now)
    }

    /// The money went back, and the order with it if this payment had paid it. The transaction that brought
    /// the money keeps its place: a refund has an id of its own.
    pub fn refund(&mut self, order: &mut Order, transaction_id: Option<&TransactionId>, now: DateTime<Utc>) {
        let paid_with = self.transaction_id.clone();
        self.advance(PaymentStatus::Refunded, paid_with.as_ref().or(transaction_id), now);
        order.refund(&self.id, now);
    }
}
