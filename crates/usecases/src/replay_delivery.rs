use domain::{Delivery, DeliveryId, ExternalPayment, Order, Outcome, Receipt, Settlement, Source};
use ports::{Clock, Keys, Ledger, LedgerError};

use crate::{Caller, delivery_id};

/// What came of a replay, or would come of it.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The entry that it left, or would leave.
    pub settlement: Settlement,
    /// The payment afterwards, if it is registered.
    pub payment: Option<ExternalPayment>,
    /// The order that the delivery names, afterwards, if it is the payment's.
    pub order: Option<Order>,
}

/// Why a delivery was not applied again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such delivery.
    #[error("there is no such delivery")]
    NotFound,
    /// Its body could not be understood, so there is nothing to apply.
    #[error("an invalid delivery cannot be applied")]
    NotReplayable,
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Applies a stored delivery again, through the same rule. A dry run stores nothing.
///
/// # Errors
/// See [`ReplayError`].
pub fn replay_delivery(
    ledger: &dyn Ledger,
    clock: &dyn Clock,
    id: DeliveryId,
    dry_run: bool,
    caller: &Caller,
) -> Result<Replay, ReplayError> {
    let original: Delivery = ledger.delivery(id)?.ok_or(ReplayError::NotFound)?;
    if let Outcome::Invalid(_) = original.outcome {
        return Err(ReplayError::NotReplayable);
    }
    let notification = original.payload.notification().ok_or(ReplayError::NotReplayable)?;
    let now = clock.now();
    let replay = ledger.amend(&Keys::of_notifications([&notification]), |books| {
        let receipt = Receipt {
            delivery_id: delivery_id(now),
            received_at: now,
            source: Source::Replay,
            body_sha256: original.receipt.body_sha256,
            key_name: caller.key_name.clone(),
            request_id: caller.request_id.clone(),
        };
        let settlement = books.settle(&notification, receipt);
        if dry_run {
            books.discard();
        }
        let payment = books.payment(&notification.payment_id).cloned();
        let order = payment.as_ref().and_then(|payment| books.order(&payment.order_id)).cloned();
        Replay { settlement, payment, order }
    })?;
    Ok(replay)
}
