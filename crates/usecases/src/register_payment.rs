use std::time::Instant;

use domain::{Books, Order, ParkedNotification, Provenance, Registration, RegistrationOutcome, Settlement, Source};
use ports::{LedgerError, LedgerExt as _, RecordedPayment, Scope};

use crate::delivery_id::next_delivery_id;
use crate::{Caller, Observed, Subject, UseCases};

/// What came of a registration.
#[derive(Debug)]
pub struct Registered {
    /// Whether the payment is expected now, was before, or cannot be.
    pub outcome: RegistrationOutcome,
    /// What came of the notifications that had been parked for it.
    pub applied: Vec<Settlement>,
    /// The payment and its order as they then stood; what was done is stored even if this cannot be read.
    pub afterwards: Result<Option<(RecordedPayment, Order)>, LedgerError>,
}

impl UseCases {
    /// Registers a payment that the portal expects and, in the same transaction, applies the notifications that
    /// came before it.
    ///
    /// # Errors
    /// As [`Ledger::amend_books`](ports::Ledger::amend_books).
    pub fn register_payment(
        &self,
        registration: &Registration,
        caller: &Caller,
    ) -> Result<Registered, Observed<LedgerError>> {
        let begun = Instant::now();
        let scope = Scope::of_registration(registration);
        let decided = self.ledger.amend(&scope, |books| self.register_in(books, registration, caller));
        let subject = Subject { payment_id: Some(&registration.payment_id), order_id: Some(&registration.order_id) };
        let (outcome, applied) = decided.map_err(|error| self.observed(subject, error, caller, begun))?;
        self.stored(&applied);
        self.observer.registered(registration, outcome, &applied, caller, begun.elapsed());
        Ok(Registered { outcome, applied, afterwards: self.history.payment_and_order(&registration.payment_id) })
    }

    fn register_in(
        &self,
        books: &mut Books,
        registration: &Registration,
        caller: &Caller,
    ) -> (RegistrationOutcome, Vec<Settlement>) {
        let now = self.clock.now();
        let outcome = books.register(registration, now);
        let parked = match outcome {
            RegistrationOutcome::Registered | RegistrationOutcome::Exists => books.unpark(&registration.payment_id),
            RegistrationOutcome::PaymentConflict | RegistrationOutcome::OrderConflict => Vec::new(),
        };
        let settle = |ParkedNotification { provenance, notification }| {
            let provenance = Provenance {
                delivery_id: next_delivery_id(&*self.clock, now),
                received_at: now,
                source: Source::Parked,
                request_id: caller.request_id.clone(),
                ..provenance
            };
            books.settle(&notification, provenance)
        };
        (outcome, parked.into_iter().map(settle).collect())
    }
}
