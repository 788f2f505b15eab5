//! What a method keeps for itself.

use crate::{ExternalPayment, InvoiceNumber, PaymentMethod, PaymentStatus, TransactionId, UserId};

/// What only some methods need to know at registration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordDetails {
    /// For an invoice: its number.
    pub invoice_number: Option<InvoiceNumber>,
    /// For an inner payment: whose balance pays.
    pub user_id: Option<UserId>,
}

/// The record of the payment's method (PaypalPayment, WebpayPayment, InnerPayment, InvoicePayment). It
/// follows its payment: the two are written in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the providers' own")]
pub enum MethodRecord {
    Paypal {
        status: PaymentStatus,
        transaction_id: Option<TransactionId>,
    },
    Webpay {
        status: PaymentStatus,
        transaction_id: Option<TransactionId>,
    },
    Inner {
        status: PaymentStatus,
        user_id: Option<UserId>,
    },
    /// The receipt is the provider's id of the transaction that settled the invoice.
    Invoice {
        status: PaymentStatus,
        number: Option<InvoiceNumber>,
        receipt: Option<TransactionId>,
    },
}

impl PaymentMethod {
    /// Whether its payments have a record of their own.
    #[must_use]
    pub fn keeps_record(self) -> bool {
        matches!(self, Self::Paypal | Self::Webpay | Self::Inner | Self::Invoice)
    }
}

impl MethodRecord {
    /// The record of this payment; `None` for the providers that have none.
    #[must_use]
    pub fn of(payment: &ExternalPayment, details: RecordDetails) -> Option<Self> {
        let status = payment.status;
        let transaction_id = payment.transaction_id.clone();
        match payment.method {
            PaymentMethod::Paypal => Some(Self::Paypal { status, transaction_id }),
            PaymentMethod::Webpay => Some(Self::Webpay { status, transaction_id }),
            PaymentMethod::Inner => Some(Self::Inner { status, user_id: details.user_id }),
            PaymentMethod::Invoice => {
                Some(Self::Invoice { status, number: details.invoice_number, receipt: transaction_id })
            }
            PaymentMethod::Card
            | PaymentMethod::Stripe
            | PaymentMethod::Payu
            | PaymentMethod::Fiobanka
            | PaymentMethod::Comgate => None,
        }
    }

    /// What only this method needed to know at registration.
    #[must_use]
    pub fn into_details(self) -> RecordDetails {
        match self {
            Self::Paypal { .. } | Self::Webpay { .. } => RecordDetails::default(),
            Self::Inner { user_id, .. } => RecordDetails { user_id, ..RecordDetails::default() },
            Self::Invoice { number, .. } => RecordDetails { invoice_number: number, ..RecordDetails::default() },
        }
    }
}
