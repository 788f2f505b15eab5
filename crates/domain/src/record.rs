//! Per-method payment records.

use strum::{Display, EnumDiscriminants, VariantArray};

use crate::{ExternalPayment, InvoiceNumber, PaymentMethod, PaymentStatus, TransactionId, UserId};

/// What only some methods need to know at registration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordDetails {
    /// For an invoice: its number.
    pub invoice_number: Option<InvoiceNumber>,
    /// For an inner payment: whose balance pays.
    pub user_id: Option<UserId>,
}

/// The record of the payment's method (PaypalPayment, WebpayPayment, InnerPayment, InvoicePayment): a view of the
/// payment and of what only its method needed to know at registration.
#[derive(Debug, Clone, PartialEq, Eq, EnumDiscriminants)]
#[strum_discriminants(
    name(RecordKind),
    doc = "The methods that have a record, by the record's own name.",
    derive(Hash, Display, VariantArray),
    strum(serialize_all = "snake_case"),
    expect(missing_docs, reason = "the names are the providers' own")
)]
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
    /// Which record its payments have; `None` for the providers that have none. The one list of them.
    #[must_use]
    pub fn record_kind(self) -> Option<RecordKind> {
        match self {
            Self::Paypal => Some(RecordKind::Paypal),
            Self::Webpay => Some(RecordKind::Webpay),
            Self::Inner => Some(RecordKind::Inner),
            Self::Invoice => Some(RecordKind::Invoice),
            Self::Card | Self::Stripe | Self::Payu | Self::Fiobanka | Self::Comgate => None,
        }
    }
}

impl MethodRecord {
    /// The record of this payment; `None` for the providers that have none.
    #[must_use]
    pub fn of(payment: &ExternalPayment, details: RecordDetails) -> Option<Self> {
        let status = payment.status;
        let transaction_id = payment.transaction_id.clone();
        let RecordDetails { invoice_number, user_id } = details;
        Some(match payment.method.record_kind()? {
            RecordKind::Paypal => Self::Paypal { status, transaction_id },
            RecordKind::Webpay => Self::Webpay { status, transaction_id },
            RecordKind::Inner => Self::Inner { status, user_id },
            RecordKind::Invoice => Self::Invoice { status, number: invoice_number, receipt: transaction_id },
        })
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
