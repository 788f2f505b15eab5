//! What the use cases need from the outside world, as traits, one for each role, and what can go wrong with it. No
//! technology: an adapter brings that.

mod clock;
mod error;
mod history;
mod leases;
mod ledger;
mod outbox;
mod portal_notifier;
mod retention;
mod upkeep;

pub use clock::Clock;
pub use error::{LedgerError, error_chain};
pub use history::{
    ATTEMPTS_MAX, DeliveryFilter, EventFilter, EventHistory, EventStatus, HISTORY_MAX, History, OrderHistory,
    PaymentHistory, RecordedPayment,
};
pub use leases::Leases;
pub use ledger::{Ledger, LedgerExt, LockWait, Scope};
pub use outbox::{
    AttemptResult, AttemptedEvent, CLAIMED_EVENTS_MAX, Claim, ClaimedQueue, Claims, Outbox, PendingEvent, QueueProgress,
};
pub use portal_notifier::{Notified, PortalNotifier, Reaction};
pub use retention::{RecordCounts, RecordPosition, RemovableRecords, Retention};
pub use upkeep::{COUNT_MAX, Connections, LedgerStats, PENDING_ORDERS_MAX, UNAPPLIED_MAX, Upkeep};

/// One database in all its roles.
pub trait Store: Ledger + History + Outbox + Retention + Upkeep + Leases {}

impl<S: Ledger + History + Outbox + Retention + Upkeep + Leases> Store for S {}
