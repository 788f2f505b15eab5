use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use domain::{Books, Provenance, Settlement, Source};
use ports::{Clock, LedgerError, LedgerExt as _, LockWait, Scope};
use tokio::sync::oneshot;

use crate::UseCases;
use crate::callback::{Callback, ParsedBody, ReceiveError};
use crate::delivery_id::next_delivery_id;
use crate::held_callbacks::HeldCallbacks;
use crate::intake::{GroupCommitLimits, Intake, QueuedCallback};

/// Settles callbacks that arrive at about the same time together: one transaction and one `fsync` for all of them. A
/// callback on an idle service goes at once; `intake.rs` says how long others wait for more. Each caller waits for its
/// own answer; a caller that goes away changes nothing.
///
/// Callbacks of payments that another session has locked leave their batch and are tried again in a thread of their
/// own, so that they do not delay the others.
pub struct GroupCommit {
    intake: Arc<Intake>,
    held: Arc<HeldCallbacks>,
    committers: Mutex<Vec<JoinHandle<()>>>,
    retrier: Mutex<Option<JoinHandle<()>>>,
}

impl GroupCommit {
    /// Starts the threads that commit. Entries get their ids as they are decided, by this clock.
    ///
    /// # Errors
    /// The operating system gave no thread.
    pub fn start(use_cases: &UseCases, limits: GroupCommitLimits) -> std::io::Result<Self> {
        let intake = Arc::new(Intake::new(limits));
        let held = Arc::new(HeldCallbacks::default());
        let committer =
            || Committer { use_cases: use_cases.clone(), held: Arc::clone(&held), patience: limits.patience };
        let start_committer = |index| {
            let (intake, committer) = (Arc::clone(&intake), committer());
            thread::Builder::new().name(format!("committer-{index}")).spawn(move || {
                while let Some(batch) = intake.take() {
                    for waiting in &batch {
                        committer.use_cases.observer.dequeued(waiting.since.elapsed());
                    }
                    let count = batch.len();
                    isolated(|| committer.commit_new(batch));
                    intake.finished(count);
                }
            })
        };
        let committers = (0..limits.committers).map(start_committer).collect::<Result<_, _>>()?;
        let retrier = committer();
        let retry = move || {
            while let Some(callbacks) = retrier.held.take() {
                isolated(|| retrier.commit(callbacks, LockWait::Minimal));
            }
        };
        let retrier = thread::Builder::new().name("committer-held".to_owned()).spawn(retry)?;
        Ok(Self { intake, held, committers: Mutex::new(committers), retrier: Mutex::new(Some(retrier)) })
    }

    /// Hands a callback over; the answer comes when it is settled and stored. It is settled even if the
    /// caller does not wait.
    ///
    /// # Errors
    /// [`ReceiveError::Full`] at once; the others when the transaction has failed.
    pub async fn submit(&self, callback: Callback) -> Result<Settlement, ReceiveError> {
        let (answer, answered) = oneshot::channel();
        self.intake.put(QueuedCallback { callback, since: Instant::now(), answer }, self.held.len())?;
        answered.await.unwrap_or(Err(ReceiveError::Lost))
    }

    /// How many callbacks wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.intake.len() + self.held.len()
    }

    /// Whether callbacks wait or are being committed.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.intake.is_busy()
    }

    /// How many may wait.
    #[must_use]
    pub fn queue_max(&self) -> usize {
        self.intake.queue_max()
    }

    /// Whether a callback would be turned away now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.depth() >= self.queue_max()
    }

    /// Takes no more callbacks and returns when all that wait are settled. Blocks.
    pub fn finish(&self) {
        self.intake.close();
        let committers = std::mem::take(&mut *self.committers.lock().unwrap_or_else(PoisonError::into_inner));
        for committer in committers {
            // A committer that panicked outside of `commit` has nothing left to wait for.
            let _ = committer.join();
        }
        self.held.close();
        if let Some(retrier) = self.retrier.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = retrier.join();
        }
    }
}

/// Runs `commit` for one batch. A panic is a defect that its own callers are told of (their answers are dropped); the
/// callbacks after them must still be settled.
fn isolated(commit: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(commit));
}

/// Commits batches, and sets apart what another session holds up.
struct Committer {
    use_cases: UseCases,
    held: Arc<HeldCallbacks>,
    patience: Duration,
}

impl Committer {
    /// Commits callbacks that have just come.
    fn commit_new(&self, batch: Vec<QueuedCallback>) {
        if !self.held.any_payment() {
            return self.commit(batch, LockWait::Short);
        }
        let (held, free) = self.held.split(batch);
        let payments = held.iter().filter_map(QueuedCallback::payment_id).cloned().collect();
        self.set_apart(held, LedgerError::Held { payments });
        self.commit(free, LockWait::Minimal);
    }

    fn commit(&self, mut batch: Vec<QueuedCallback>, lock_wait: LockWait) {
        let begun = Instant::now();
        while !batch.is_empty() {
            match self.settle(&batch, lock_wait) {
                Ok(settlements) => return answer(batch, settlements),
                Err(LedgerError::Held { payments }) => {
                    let is_held =
                        |waiting: &QueuedCallback| waiting.payment_id().is_some_and(|id| payments.contains(id));
                    let (held, free): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_held);
                    self.held.remember(&payments);
                    self.set_apart(held, LedgerError::Held { payments });
                    batch = free;
                }
                // One bad callback must not sink its neighbours.
                Err(LedgerError::Corrupt { .. } | LedgerError::Refused(_) | LedgerError::Contended(_))
                    if batch.len() > 1 =>
                {
                    return self.commit_one_by_one(batch, begun);
                }
                Err(error @ LedgerError::Contended(_)) => {
                    self.held.remember(batch.iter().filter_map(QueuedCallback::payment_id));
                    return self.set_apart(batch, error);
                }
                Err(error) => return fail(batch, Arc::new(error)),
            }
        }
    }

    fn commit_one_by_one(&self, batch: Vec<QueuedCallback>, begun: Instant) {
        let mut batch = batch.into_iter();
        while let Some(waiting) = batch.next() {
            match self.settle(slice::from_ref(&waiting), LockWait::Minimal) {
                Ok(settlements) => answer([waiting], settlements),
                Err(error @ (LedgerError::Corrupt { .. } | LedgerError::Refused(_))) => {
                    fail([waiting], Arc::new(error))
                }
                Err(error @ (LedgerError::Held { .. } | LedgerError::Contended(_)))
                    if begun.elapsed() < self.patience =>
                {
                    self.held.remember(waiting.payment_id());
                    self.set_apart(vec![waiting], error);
                }
                Err(error) => return fail(iter::once(waiting).chain(batch), Arc::new(error)),
            }
        }
    }

    /// Lets callbacks wait beside the batches until the other session lets go of their payments; those that have waited
    /// for long enough are given up.
    fn set_apart(&self, callbacks: Vec<QueuedCallback>, error: LedgerError) {
        let error = Arc::new(error);
        for waiting in callbacks {
            let late = waiting.since.elapsed() >= self.patience;
            let given_up = if late { Some(waiting) } else { self.held.put(waiting) };
            if let Some(waiting) = given_up {
                self.use_cases.observer.committed(1, waiting.since.elapsed(), Err(&error));
                fail([waiting], Arc::clone(&error));
            }
        }
    }

    fn settle(&self, batch: &[QueuedCallback], lock_wait: LockWait) -> Result<Vec<Settlement>, LedgerError> {
        let begun = Instant::now();
        let notifications = batch.iter().filter_map(|waiting| match &waiting.callback.body {
            ParsedBody::Valid(notification) => Some(notification),
            ParsedBody::Invalid { .. } => None,
        });
        let scope = Scope { lock_wait, ..Scope::of_notifications(notifications) };
        let settled = self.use_cases.ledger.amend(&scope, |books| {
            batch.iter().map(|waiting| settle_one(books, &*self.use_cases.clock, &waiting.callback)).collect::<Vec<_>>()
        });
        if let Ok(settlements) = &settled {
            self.use_cases.stored(settlements);
        }
        if !matches!(settled, Err(LedgerError::Held { .. } | LedgerError::Contended(_))) {
            self.use_cases.observer.committed(batch.len(), begun.elapsed(), settled.as_ref().map(drop));
        }
        settled
    }
}

fn answer(batch: impl IntoIterator<Item = QueuedCallback>, settlements: Vec<Settlement>) {
    for (waiting, settlement) in batch.into_iter().zip(settlements) {
        // The caller may be gone; it is settled all the same.
        let _ = waiting.answer.send(Ok(settlement));
    }
}

fn fail(batch: impl IntoIterator<Item = QueuedCallback>, error: Arc<LedgerError>) {
    for waiting in batch {
        let _ = waiting.answer.send(Err(ReceiveError::Ledger(Arc::clone(&error))));
    }
}

fn settle_one(books: &mut Books, clock: &dyn Clock, callback: &Callback) -> Settlement {
    let Callback { body, received_at, body_sha256, caller } = callback;
    let provenance = Provenance {
        delivery_id: next_delivery_id(clock, *received_at),
        received_at: *received_at,
        source: Source::Callback,
        body_sha256: Some(*body_sha256),
        key_name: caller.key_name.clone(),
        request_id: caller.request_id.clone(),
    };
    match body {
        ParsedBody::Valid(notification) => books.settle(notification, provenance),
        ParsedBody::Invalid { payload, reason } => books.note_invalid(payload.clone(), reason.clone(), provenance),
    }
}
