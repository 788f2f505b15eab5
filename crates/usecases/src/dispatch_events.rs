use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::RetrySchedule;
use ports::{
    AttemptResult, AttemptedEvent, ClaimedQueue, LedgerError, Notified, Outbox, PendingEvent, PortalNotifier,
    QueueProgress, Reaction,
};
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::{Blocking, Interrupted, Observer};

/// Queues that are claimed at a time: what is sent within a fraction of a second, where the portal is quick.
const CLAIMED_MAX: usize = 256;

/// How long a claim lasts. A replica that is killed holds up its events for so long.
const CLAIM: Duration = Duration::from_secs(15);

/// How long after its claim the sending of an event begins at the latest. With the 10 s of an attempt there is time then
/// to store what came of it before the claim ends.
const BEGIN_MAX: Duration = Duration::from_secs(2);

/// How long an attempt waits while callbacks are being settled: both need the processors, and a sender of callbacks waits
/// for its answer.
const YIELD: Duration = Duration::from_millis(5);

/// How long a failed attempt counts as under way at least: a portal that refuses at once must not cost more than one
/// that answers.
const FAILURE_MIN: Duration = Duration::from_millis(50);

/// The time from one transaction of a kind to the next: under load, each has more to do. The first after a pause does
/// not wait.
const TRANSACTION_EVERY: Duration = Duration::from_millis(10);

/// How often other replicas are told that there is more to send than this one can.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);

/// How soon it is tried again to read an event that could not be understood: an operator has to mend it.
const UNREADABLE_RETRY: Duration = Duration::from_secs(10 * 60);

/// What a [`DispatchEvents`] works with.
pub struct DispatchParts<N> {
    /// What there is to send.
    pub outbox: Blocking<dyn Outbox>,
    /// Who sends it.
    pub notifier: N,
    /// The pauses between attempts.
    pub schedule: RetrySchedule,
    /// Attempts at a time.
    pub concurrency: usize,
    /// Who is told of the attempts.
    pub observer: Arc<dyn Observer>,
    /// Notified when another round is worthwhile.
    pub wake_up: Arc<Notify>,
    /// Whether callbacks are being settled, which come first.
    pub callbacks_come_first: Box<dyn Fn() -> bool + Send + Sync>,
}

/// Tells the portal of events: at least once, those of one order one after the other, and any number of orders side by
/// side. An order whose event fails holds up itself alone.
///
/// No lock is held while an event is sent, and each transaction stores the results of many.
pub struct DispatchEvents<N>(Arc<Dispatcher<N>>);

struct Dispatcher<N> {
    parts: DispatchParts<N>,
    /// Attempts that may begin.
    slots: Semaphore,
    /// Queues that may be claimed.
    claimable: Arc<Semaphore>,
    claiming: Pace,
    /// Results that are not stored yet.
    finished: Mutex<Vec<QueueProgress>>,
    recording: AsyncMutex<Pace>,
    announcing: AsyncMutex<Pace>,
    /// Whether the last claim left queues that were due.
    more_is_due: AtomicBool,
    stopping: AtomicBool,
}

/// Why a round of [`DispatchEvents`] failed.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The outbox failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The work was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl<N: PortalNotifier> DispatchEvents<N> {
    /// Sends nothing until it is told to.
    #[must_use]
    pub fn new(parts: DispatchParts<N>) -> Self {
        Self(Arc::new(Dispatcher {
            slots: Semaphore::new(parts.concurrency),
            claimable: Arc::new(Semaphore::new(CLAIMED_MAX)),
            claiming: Pace::default(),
            finished: Mutex::default(),
            recording: AsyncMutex::default(),
            announcing: AsyncMutex::default(),
            more_is_due: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            parts,
        }))
    }

    /// Claims what is due and begins to send it, without waiting for the portal. Returns how long it is until more is
    /// due, as far as that is known.
    ///
    /// # Errors
    /// The outbox failed. What was sent and could not be stored is kept, and stored by a later round.
    pub async fn dispatch(&self) -> Result<Option<Duration>, DispatchError> {
        self.0.record_finished().await?;
        let claimable = self.0.claimable.available_permits();
        if claimable == 0 {
            return Ok(None);
        }
        self.0.claiming.keep(TRANSACTION_EVERY).await;
        let claimed_at = Instant::now();
        let claims = self.0.parts.outbox.run(move |outbox| outbox.claim(claimable, CLAIM)).await??;
        self.0.claiming.mark();
        let any_claimed = !claims.queues.is_empty();
        for queue in claims.queues {
            let permit = Arc::clone(&self.0.claimable).acquire_owned().await.map_err(|_| Interrupted)?;
            tokio::spawn(Arc::clone(&self.0).send(queue, claimed_at, permit));
        }
        // A queue that is finished wakes the next round then.
        let more_is_due = any_claimed && claims.next_due_in == Some(Duration::ZERO);
        self.0.more_is_due.store(more_is_due, Ordering::Relaxed);
        if more_is_due {
            self.0.announce().await?;
            return Ok(None);
        }
        Ok(claims.next_due_in.map(|pause| pause.max(TRANSACTION_EVERY)))
    }

    /// Begins no more attempts, waits for those under way, and stores what came of them.
    pub async fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
        let all = u32::try_from(CLAIMED_MAX).unwrap_or(u32::MAX);
        let ended = self.0.claimable.acquire_many(all).await.is_ok();
        if ended {
            // What cannot be stored is sent once more.
            let _ = self.0.record_finished().await;
        }
    }
}

impl<N: PortalNotifier> Dispatcher<N> {
    /// Sends the events of a claimed queue until one fails, and stores what came of it.
    async fn send(self: Arc<Self>, queue: ClaimedQueue, claimed_at: Instant, claim: OwnedSemaphorePermit) {
        let progress = self.send_events(queue, claimed_at).await;
        // The next round finds out when it is due, or tries again to store this.
        let is_due_again = progress.due_in.is_some();
        self.lock_finished().push(progress);
        let recorded = self.record_finished().await.is_ok();
        drop(claim);
        // Many are claimed at a time.
        let half_is_free = self.claimable.available_permits() >= CLAIMED_MAX / 2;
        if is_due_again || !recorded || (self.more_is_due.load(Ordering::Relaxed) && half_is_free) {
            self.parts.wake_up.notify_one();
        }
    }

    async fn send_events(&self, queue: ClaimedQueue, claimed_at: Instant) -> QueueProgress {
        let ClaimedQueue { claim, events, unreadable } = queue;
        let mut attempts = Vec::with_capacity(events.len());
        let at_once = Some(Duration::ZERO);
        let whole = events.len() < ports::CLAIMED_EVENTS_MAX;
        for pending in events {
            let slot = timeout_at(claimed_at + BEGIN_MAX, self.slots.acquire()).await;
            let (Ok(Ok(_slot)), false) = (slot, self.stopping.load(Ordering::Relaxed)) else {
                return QueueProgress { claim, attempts, due_in: at_once };
            };
            if (self.parts.callbacks_come_first)() {
                sleep(YIELD).await;
            }
            let (attempted, pause) = self.attempt(&pending).await;
            attempts.push(attempted);
            if pause.is_some() {
                sleep(FAILURE_MIN).await;
                return QueueProgress { claim, attempts, due_in: pause };
            }
        }
        if let Some(reason) = unreadable {
            self.parts.observer.event_unreadable(&reason);
            return QueueProgress { claim, attempts, due_in: Some(UNREADABLE_RETRY) };
        }
        QueueProgress { claim, attempts, due_in: if whole { None } else { at_once } }
    }

    /// One attempt, and how long its order has to wait, if it is to be repeated.
    async fn attempt(&self, pending: &PendingEvent) -> (AttemptedEvent, Option<Duration>) {
        let Notified { attempt, reaction } = self.parts.notifier.notify(pending).await;
        let (result, pause) = match reaction {
            Reaction::Acknowledged => (AttemptResult::Delivered, None),
            Reaction::Gone => (AttemptResult::Dead, None),
            Reaction::TryAgain { retry_after } => {
                match self.parts.schedule.pause(pending.failures + 1, retry_after, random()) {
                    Some(pause) => (AttemptResult::Failed, Some(pause)),
                    None => (AttemptResult::Dead, None),
                }
            }
        };
        self.parts.observer.event_attempted(pending, &attempt, result, pause);
        (AttemptedEvent { id: pending.event.id, attempt, result }, pause)
    }

    /// Stores all results that there are in one transaction. Who comes meanwhile waits and stores the next ones.
    async fn record_finished(&self) -> Result<(), DispatchError> {
        let pace = self.recording.lock().await;
        if self.lock_finished().is_empty() {
            return Ok(());
        }
        pace.keep(TRANSACTION_EVERY).await;
        let finished = Arc::new(std::mem::take(&mut *self.lock_finished()));
        let progress = Arc::clone(&finished);
        let recorded = self.parts.outbox.run(move |outbox| outbox.record(&progress)).await;
        pace.mark();
        match recorded.map_err(DispatchError::from).and_then(|recorded| Ok(recorded?)) {
            Ok(more_was_added) => {
                if more_was_added {
                    self.parts.wake_up.notify_one();
                }
                Ok(())
            }
            Err(error) => {
                self.lock_finished().extend(finished.iter().cloned());
                Err(error)
            }
        }
    }

    async fn announce(&self) -> Result<(), DispatchError> {
        let pace = self.announcing.lock().await;
        if pace.is_due(ANNOUNCE_EVERY) {
            pace.mark();
            self.parts.outbox.run(Outbox::announce).await??;
        }
        Ok(())
    }

    /// No code that can panic runs under the lock, so poisoning means nothing.
    fn lock_finished(&self) -> MutexGuard<'_, Vec<QueueProgress>> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When something was last done.
#[derive(Default)]
struct Pace(Mutex<Option<Instant>>);

impl Pace {
    fn last(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_due(&self, every: Duration) -> bool {
        self.last().is_none_or(|last| last.elapsed() >= every)
    }

    /// Waits until it was done so long ago.
    async fn keep(&self, every: Duration) {
        if let Some(last) = self.last() {
            sleep_until(last + every).await;
        }
    }
}

/// Between 0 and 1.
fn random() -> f64 {
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}
