use std::error::Error;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{
    Cancellation, DeliveryId, EventAttempt, EventId, OrderId, PaymentId, Registration, RegistrationOutcome, Settlement,
};
use ports::{AttemptResult, EventFilter, LedgerError, LedgerStats, PendingEvent};

use crate::{Caller, ParsedBody, Pruned, RedeliveredEvents};

/// Is told what use cases did, after the commit: for a request, a command or a background task. By default it ignores
/// what it is told.
#[expect(unused_variables, reason = "the names document what is told")]
pub trait Observer: Send + Sync {
    /// A callback was authenticated and parsed.
    fn received(&self, body: &ParsedBody, caller: &Caller) {}

    /// A callback has left the queue after so long.
    fn dequeued(&self, waited: Duration) {}

    /// A transaction with so many callbacks has ended, well or not, after so long. What only has to be tried again,
    /// because another session holds a lock, has not ended.
    fn committed(&self, callbacks: usize, took: Duration, result: Result<(), &LedgerError>) {}

    /// A callback was settled, or kept where it could not be.
    fn settled(&self, settlement: &Settlement, took: Duration) {}

    /// A registration was carried out or refused; `applied` had been parked for it.
    fn registered(
        &self,
        registration: &Registration,
        outcome: RegistrationOutcome,
        applied: &[Settlement],
        caller: &Caller,
        took: Duration,
    ) {
    }

    /// A cancellation was carried out or refused.
    fn cancelled(&self, id: &OrderId, outcome: Cancellation, caller: &Caller, took: Duration) {}

    /// A stored delivery was applied again, or only tried.
    fn replayed(&self, id: DeliveryId, settlement: &Settlement, dry_run: bool, caller: &Caller, took: Duration) {}

    /// An event was made due.
    fn event_redelivered(&self, id: EventId, caller: &Caller, took: Duration) {}

    /// All events that match were made due, or only counted.
    fn events_redelivered(&self, filter: &EventFilter, result: RedeliveredEvents, caller: &Caller, took: Duration) {}

    /// A callback, a registration, a cancellation, a replay or a redelivery could not be carried out.
    fn failed(&self, subject: Subject<'_>, error: &(dyn Error + 'static), caller: &Caller, took: Duration) {}

    /// Old records were removed, or only looked at, up to an error if there was one.
    fn pruned(&self, pruned: &Pruned, took: Duration) {}

    /// The portal was told of an event, or was not; the next attempt is after this pause.
    fn event_attempted(
        &self,
        pending: &PendingEvent,
        attempt: &EventAttempt,
        result: AttemptResult,
        pause: Option<Duration>,
    ) {
    }

    /// An event that is to be sent cannot be understood as it is stored. It holds up those of its order.
    fn event_unreadable(&self, reason: &str) {}

    /// Payments do not come on by themselves.
    fn stuck(&self, stats: &LedgerStats, now: DateTime<Utc>) {}

    /// A round of a background task failed, the last of so many one after the other.
    fn task_failed(&self, task: &'static str, error: &(dyn Error + 'static), failures: u32) {}
}

/// The payment and the order that something is about, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// The payment.
    pub payment_id: Option<&'a PaymentId>,
    /// The order.
    pub order_id: Option<&'a OrderId>,
}

/// An error that the [`Observer`] was told: to log it again would count it twice.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Observed<E: Error>(pub E);

/// Observes nothing.
impl Observer for () {}
