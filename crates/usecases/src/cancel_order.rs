use domain::{Cancellation, OrderId};
use ports::{Clock, Keys, Ledger, LedgerError};

/// Cancels an order that nobody has paid.
///
/// # Errors
/// As [`Ledger::amend_books`].
pub fn cancel_order(ledger: &dyn Ledger, clock: &dyn Clock, id: &OrderId) -> Result<Cancellation, LedgerError> {
    let now = clock.now();
    ledger.amend(&Keys::of_order(id), |books| books.cancel(id, now))
}
