use std::time::Instant;

use domain::{Content, Delivery, DeliveryId, ExternalPayment, MethodRecord, Order, Provenance, Settlement, Source};
use ports::{LedgerError, LedgerExt as _, RecordedPayment, Scope};

use crate::delivery_id::next_delivery_id;
use crate::{Caller, Observed, Subject, UseCases};

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
    Ledger(#[from] Observed<LedgerError>),
}

impl UseCases {
    /// Applies a stored delivery again, through the same rule. A dry run stores nothing.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn replay_delivery(&self, id: DeliveryId, dry_run: bool, caller: &Caller) -> Result<Replay, ReplayError> {
        let begun = Instant::now();
        let original = self.history.delivery(id);
        let original = original.map_err(|error| self.observed(Subject::default(), error, caller, begun))?;
        let Delivery { content, provenance, .. } = original.ok_or(ReplayError::NotFound)?;
        let Content::Notification(notification) = content else {
            return Err(ReplayError::NotReplayable);
        };
        let now = self.clock.now();
        let replayed = self.ledger.amend(&Scope::of_notifications([&notification]), |books| {
            let provenance = Provenance {
                delivery_id: next_delivery_id(&*self.clock, now),
                received_at: now,
                source: Source::Replay,
                body_sha256: provenance.body_sha256,
                key_name: caller.key_name.clone(),
                request_id: caller.request_id.clone(),
            };
            let settlement = books.settle(&notification, provenance);
            if dry_run {
                books.discard();
            }
            let payment = books.payment(&notification.payment_id).cloned();
            (settlement, payment, books.order(&notification.order_id).cloned())
        });
        let subject = Subject { payment_id: Some(&notification.payment_id), order_id: Some(&notification.order_id) };
        let (settlement, payment, order) = replayed.map_err(|error| self.observed(subject, error, caller, begun))?;
        if !dry_run {
            self.stored(std::slice::from_ref(&settlement));
        }
        self.observer.replayed(id, &settlement, dry_run, caller, begun.elapsed());
        let stored = self.history.payment_and_order(&notification.payment_id);
        let afterwards = stored.map(|stored| Some(with_replayed(stored?, payment?, order)));
        Ok(Replay { dry_run, settlement, afterwards })
    }
}

/// What is stored, with the payment and the order as the replay left them in the books, which a dry run does not store.
fn with_replayed(
    (stored, stored_order): (RecordedPayment, Order),
    payment: ExternalPayment,
    order: Option<Order>,
) -> (RecordedPayment, Order) {
    let details = stored.record.map(MethodRecord::into_details).unwrap_or_default();
    let record = MethodRecord::of(&payment, details);
    // The delivery may name another order than the payment's, which then has not changed.
    let order = order.filter(|order| order.id == payment.order_id).unwrap_or(stored_order);
    (RecordedPayment { payment, record }, order)
}
