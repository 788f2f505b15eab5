//! What the use cases need from the outside world, as traits, and what can go wrong with it. No technology:
//! an adapter brings that.

mod clock;
mod ledger;

pub use clock::Clock;
pub use ledger::{
    COUNT_MAX, Connections, DeliveryFilter, HISTORY_MAX, Keys, Ledger, LedgerError, LedgerFigures, LockWait,
    OrderHistory, PaymentHistory, RecordedPayment, UNAPPLIED_MAX,
};
