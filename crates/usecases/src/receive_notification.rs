use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{Notification, OrderId, Payload, PaymentId, Settlement};
use ports::{Clock, LedgerError};

use crate::{Caller, GroupCommit};

/// What a callback's body turned out to be.
#[derive(Debug, Clone)]
pub enum Reading {
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

impl Reading {
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
    pub reading: Reading,
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

/// Receives callbacks: stamps each with its time and has it settled.
pub struct ReceiveNotification {
    intake: Arc<GroupCommit>,
    clock: Arc<dyn Clock>,
}

impl ReceiveNotification {
    /// Receives into this intake.
    #[must_use]
    pub fn new(intake: Arc<GroupCommit>, clock: Arc<dyn Clock>) -> Self {
        Self { intake, clock }
    }

    /// Settles a callback, or notes that it was invalid.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub async fn receive(
        &self,
        reading: Reading,
        body_sha256: [u8; 32],
        caller: Caller,
    ) -> Result<Settlement, ReceiveError> {
        let received_at = self.clock.now();
        self.intake.submit(Callback { reading, received_at, body_sha256, caller }).await
    }
}
