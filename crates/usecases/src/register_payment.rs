use domain::{ParkedNotification, Receipt, Registration, RegistrationOutcome, Settlement, Source};
use ports::{Clock, Keys, Ledger, LedgerError};

use crate::Caller;
use crate::delivery_id::next_delivery_id;

/// What came of a registration.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Whether the payment is expected now, was before, or cannot be.
    pub outcome: RegistrationOutcome,
    /// What came of the notifications that had waited for it.
    pub applied: Vec<Settlement>,
}

/// Registers a payment that the portal expects and, in the same transaction, applies the notifications that
/// came before it.
///
/// # Errors
/// As [`Ledger::amend_books`].
pub fn register_payment(
    ledger: &dyn Ledger,
    clock: &dyn Clock,
    registration: &Registration,
    caller: &Caller,
) -> Result<Registered, LedgerError> {
    let now = clock.now();
    ledger.amend(&Keys::of_registration(registration), |books| {
        let outcome = books.register(registration, now);
        let waiting = match outcome {
            RegistrationOutcome::Registered | RegistrationOutcome::Exists => books.unpark(&registration.payment_id),
            RegistrationOutcome::PaymentConflict | RegistrationOutcome::OrderConflict => Vec::new(),
        };
        let settle = |ParkedNotification { receipt, notification }| {
            let receipt = Receipt {
                delivery_id: next_delivery_id(clock, now),
                received_at: now,
                source: Source::Parked,
                request_id: caller.request_id.clone(),
                ..receipt
            };
            books.settle(&notification, receipt)
        };
        Registered { outcome, applied: waiting.into_iter().map(settle).collect() }
    })
}
