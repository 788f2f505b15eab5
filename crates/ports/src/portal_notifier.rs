use std::time::Duration;

use domain::EventAttempt;

use crate::PendingEvent;

/// Tells the portal of events.
pub trait PortalNotifier: Send + Sync + 'static {
    /// Sends this event once, and waits for the answer for at most 10 s.
    fn notify(&self, event: &PendingEvent) -> impl Future<Output = Notified> + Send;
}

/// What came of an attempt to tell the portal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notified {
    /// The attempt, as it is kept.
    pub attempt: EventAttempt,
    /// What the portal's answer says.
    pub reaction: Reaction,
}

/// What the portal's answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// It has the event.
    Acknowledged,
    /// It may take the event later, but not before this pause; zero if it says nothing of it.
    TryAgain {
        /// The pause that it asks for, not bounded.
        retry_after: Duration,
    },
    /// It does not want the event.
    Gone,
}
