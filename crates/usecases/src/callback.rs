use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{Notification, OrderId, Payload, PaymentId};
use ports::LedgerError;

use crate::Caller;

/// What a callback's body turned out to be.
#[derive(Debug, Clone)]
pub enum ParsedBody {
    /// A notification.
    Valid(Notification),
    /// Not one; it leaves an audit entry all the same.
    Invalid {
        /// What could be read of it.
        payload: Payload,
        /// Which fields are bad and why, without their values.
        reason: String,
    },
}

impl ParsedBody {
    /// The payment that it names.
    #[must_use]
    pub fn payment_id(&self) -> Option<&PaymentId> {
        match self {
            Self::Valid(notification) => Some(&notification.payment_id),
            Self::Invalid { payload, .. } => payload.payment_id.as_ref(),
        }
    }

    /// The order that it names.
    #[must_use]
    pub fn order_id(&self) -> Option<&OrderId> {
        match self {
            Self::Valid(notification) => Some(&notification.order_id),
            Self::Invalid { payload, .. } => payload.order_id.as_ref(),
        }
    }
}

/// A callback that was authenticated and read.
#[derive(Debug, Clone)]
pub struct Callback {
    /// What it says.
    pub body: ParsedBody,
    /// When it came in.
    pub received_at: DateTime<Utc>,
    /// SHA-256 of its body.
    pub body_sha256: [u8; 32],
    /// Who brought it.
    pub caller: Caller,
}

/// Why a callback was not settled. It is safe to send it again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReceiveError {
    /// As many callbacks as may wait are waiting.
    #[error("too many callbacks are waiting to be settled")]
    Full,
    /// The ledger failed; the whole batch had this error.
    #[error(transparent)]
    Ledger(Arc<LedgerError>),
    /// A defect in the program ended the transaction.
    #[error("the transaction ended without an answer")]
    Lost,
}
