use std::time::Instant;

use domain::{Cancellation, OrderId};
use ports::{LedgerError, LedgerExt as _, OrderHistory, Scope};

use crate::{Caller, Observed, Subject, UseCases};

/// What came of cancelling an order.
#[derive(Debug)]
pub struct Cancelled {
    /// Whether it is cancelled.
    pub outcome: Cancellation,
    /// The order as it then stood; what was done is stored even if this cannot be read.
    pub afterwards: Result<Option<OrderHistory>, LedgerError>,
}

impl UseCases {
    /// Cancels an order that is not paid.
    ///
    /// # Errors
    /// As [`Ledger::amend_books`](ports::Ledger::amend_books).
    pub fn cancel_order(&self, id: &OrderId, caller: &Caller) -> Result<Cancelled, Observed<LedgerError>> {
        let begun = Instant::now();
        let now = self.clock.now();
        let subject = Subject { order_id: Some(id), payment_id: None };
        let outcome = self.ledger.amend(&Scope::of_order(id), |books| books.cancel(id, now));
        let outcome = outcome.map_err(|error| self.observed(subject, error, caller, begun))?;
        self.observer.cancelled(id, outcome, caller, begun.elapsed());
        Ok(Cancelled { outcome, afterwards: self.history.order(id) })
    }
}
