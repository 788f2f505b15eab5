use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{Event, EventAttempt, EventId, Money, PaymentMethod};

use crate::{EventFilter, LedgerError};

/// The most events of one order that are claimed at a time.
pub const CLAIMED_EVENTS_MAX: usize = 8;

/// What the portal must be told and has not been yet: one queue of events for each order, in the order of their
/// settlements. Every method blocks and fails as [`LedgerError`] says.
///
/// A queue is claimed for a time, sent without any lock, and given back with what came of it. As in
/// [`Leases`](crate::Leases), only the store's clock counts, and a claim that has ended is free: an event is sent at
/// least once.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait Outbox: Send + Sync {
    /// Claims the queues that are due and free, the longest due first, at most `queues_max`. For `duration`, no other
    /// caller gets them.
    fn claim(&self, queues_max: usize, duration: Duration) -> Result<Claims, LedgerError>;

    /// Stores what came of claimed queues, in one transaction, and gives them back. What was delivered stays so, also
    /// where the claim has ended meanwhile. Returns whether events were added to queues in which nothing was left: those
    /// are due now.
    fn record(&self, progress: &[QueueProgress]) -> Result<bool, LedgerError>;

    /// Makes this event due now, whatever its state, with the whole schedule before it; `false` if there is none.
    fn redeliver(&self, id: EventId) -> Result<bool, LedgerError>;

    /// As [`Outbox::redeliver`], the oldest events that the filter lets through, up to its limit. Returns how many.
    fn redeliver_all(&self, filter: &EventFilter) -> Result<usize, LedgerError>;

    /// Wakes those who wait at other replicas: there may be queues that are due. [`Outbox::redeliver`] does so itself.
    fn announce(&self) -> Result<(), LedgerError>;

    /// Waits until another replica may have announced something, but not longer than this; whether it may.
    fn wait_for_announcement(&self, patience: Duration) -> Result<bool, LedgerError>;
}

/// What was claimed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    /// The queues.
    pub queues: Vec<ClaimedQueue>,
    /// When the next queue will be due, as far as it is not claimed; zero if more were due than could be claimed.
    pub next_due_in: Option<Duration>,
}

/// A claimed queue with its first events, at most [`CLAIMED_EVENTS_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedQueue {
    /// What it is claimed by.
    pub claim: Claim,
    /// In the order in which they are to be sent.
    pub events: Vec<PendingEvent>,
    /// What of the event behind these cannot be understood as it is stored, if that is so: those behind it have to wait.
    pub unreadable: Option<String>,
}

/// The right to send the events of one order, until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The store's own number of the queue.
    pub queue: i64,
    /// How many events had come into the queue then: one that comes later must not be forgotten.
    pub revision: i64,
    /// When it ends, by the store's clock. Tells it from an earlier or a later one.
    pub until: DateTime<Utc>,
}

/// An event with what the portal is told besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEvent {
    /// The event.
    pub event: Event,
    /// The registered method.
    pub method: PaymentMethod,
    /// The registered price.
    pub price: Money,
    /// How many attempts have failed.
    pub failures: u32,
}

/// What came of a claimed queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueProgress {
    /// The claim, which ends by this.
    pub claim: Claim,
    /// The attempts, in their order.
    pub attempts: Vec<AttemptedEvent>,
    /// How long until the queue is due again; `None` if nothing is left in it.
    pub due_in: Option<Duration>,
}

/// An attempt and what it means for its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptedEvent {
    /// The event.
    pub id: EventId,
    /// The attempt.
    pub attempt: EventAttempt,
    /// What it means.
    pub result: AttemptResult,
}

/// What an attempt means for its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptResult {
    /// The portal has acknowledged it.
    Delivered,
    /// It is tried again.
    Failed,
    /// It is not tried again.
    Dead,
}
