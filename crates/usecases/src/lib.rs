//! What the service does, one verb a file. Each takes the ports that it needs and knows no technology;
//! what to answer, and what to log, is for the caller to say.

mod cancel_order;
mod delivery_id;
mod group_commit;
mod held_callbacks;
mod receive_notification;
mod register_payment;
mod replay_delivery;

pub use cancel_order::cancel_order;
pub use group_commit::{CommitObserver, GroupCommit, GroupCommitLimits};
pub use receive_notification::{Callback, Reading, ReceiveError, ReceiveNotification};
pub use register_payment::{Registered, register_payment};
pub use replay_delivery::{Replay, ReplayError, replay_delivery};

use domain::{KeyName, RequestId};

/// On whose behalf something is done.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The key that the caller bore.
    pub key_name: Option<KeyName>,
    /// The request in which it came.
    pub request_id: Option<RequestId>,
}
