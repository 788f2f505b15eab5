//! What the service does, one verb a file: each works with the ports, knows no technology, and tells the [`Observer`]
//! what was decided. What to answer is for the caller to say.

mod background_status;
mod blocking;
mod callback;
mod caller;
mod cancel_order;
mod delivery_id;
mod dispatch_events;
mod group_commit;
mod held_callbacks;
mod intake;
mod observer;
mod prune;
mod receive_notification;
mod redeliver_event;
mod register_payment;
mod replay_delivery;
mod stats_cache;
mod stuck_payments;
mod use_cases;

pub use background_status::{BackgroundStatus, TaskStatus};
pub use blocking::{Blocking, Interrupted};
pub use callback::{Callback, ParsedBody, ReceiveError};
pub use caller::Caller;
pub use cancel_order::Cancelled;
pub use dispatch_events::{DispatchError, DispatchEvents, DispatchParts};
pub use group_commit::GroupCommit;
pub use intake::GroupCommitLimits;
pub use observer::{Observed, Observer, Subject};
pub use prune::{Prune, Pruned};
pub use receive_notification::ReceiveNotification;
pub use redeliver_event::{REDELIVERED_EVENTS_MAX, RedeliveredEvents};
pub use register_payment::Registered;
pub use replay_delivery::{Replay, ReplayError};
pub use stats_cache::StatsCache;
pub use stuck_payments::StuckPayments;
pub use use_cases::UseCases;
