use domain::{Content, Delivery, DeliveryId, MethodRecord, Order, Receipt, Settlement, Source};
use ports::{Clock, Keys, Ledger, LedgerError, RecordedPayment};

use crate::Caller;
use crate::delivery_id::next_delivery_id;

/// What came of a replay, or would come of it.
#[derive(Debug)]
pub struct Replay {
    /// Whether it was only tried.
    pub dry_run: bool,
    /// The entry that it left, or would leave.
    pub settlement: Settlement,
    /// The payment and its order afterwards, if the payment is registered. What was replayed is stored even if
    /// they cannot be read.
    pub afterwards: Result<Option<(RecordedPayment, Order)>, LedgerError>,
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
    let Content::Notification(notification) = original.content else {
        return Err(ReplayError::NotReplayable);
    };
    let now = clock.now();
    let (settlement, payment, order) = ledger.amend(&Keys::of_notifications([&notification]), |books| {
        let receipt = Receipt {
            delivery_id: next_delivery_id(clock, now),
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
        (settlement, books.payment(&notification.payment_id).cloned(), books.order(&notification.order_id).cloned())
    })?;
    let afterwards = ledger.payment_and_order(&notification.payment_id).map(|stored| {
        let (payment, (stored, stored_order)) = payment.zip(stored)?;
        let details = stored.record.map(MethodRecord::into_details).unwrap_or_default();
        let record = MethodRecord::of(&payment, details);
        // The delivery may name another order than the payment's, which then has not changed.
        let order = order.filter(|order| order.id == payment.order_id).unwrap_or(stored_order);
        Some((RecordedPayment { payment, record }, order))
    });
    Ok(Replay { dry_run, settlement, afterwards })
}
