//! What the use cases need from the outside world, as traits, one for each role, and what can go wrong with it. No
//! technology: an adapter brings that.

mod clock;
mod error;
mod history;
mod leases;
mod ledger;
mod upkeep;

pub use clock::Clock;
pub use error::{LedgerError, error_chain};
pub use history::{DeliveryFilter, HISTORY_MAX, History, OrderHistory, PaymentHistory, RecordedPayment};
pub use leases::Leases;
pub use ledger::{Ledger, LedgerExt, LockWait, Scope};
pub use upkeep::{COUNT_MAX, Connections, LedgerStats, UNAPPLIED_MAX, Upkeep};

/// One database in all its roles.
pub trait Store: Ledger + History + Upkeep + Leases {}

impl<S: Ledger + History + Upkeep + Leases> Store for S {}
