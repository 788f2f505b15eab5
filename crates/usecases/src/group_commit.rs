use std::collections::VecDeque;
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use domain::{Books, PaymentId, Receipt, Settlement, Source};
use ports::{Clock, Keys, Ledger, LedgerError, LockWait};
use tokio::sync::oneshot;

use crate::delivery_id::next_delivery_id;
use crate::held_callbacks::HeldCallbacks;
use crate::receive_notification::{Callback, Reading, ReceiveError};

/// How much a [`GroupCommit`] takes on.
#[derive(Debug, Clone, Copy)]
pub struct GroupCommitLimits {
    /// Callbacks that wait; beyond it they are turned away.
    pub queue_max: usize,
    /// Callbacks in one transaction.
    pub batch_max: usize,
    /// Threads that commit, each needing a connection while it does; beside them there is one for callbacks of payments
    /// that another session has locked.
    pub committers: usize,
    /// How long a callback waits for a payment that another session has locked.
    pub patience: Duration,
}

impl GroupCommitLimits {
    /// The most connections that are used at a time.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.committers + 1
    }
}

/// Is told what the threads that commit do.
pub trait CommitObserver: Send + Sync {
    /// A callback has left the queue after so long.
    fn taken(&self, waited: Duration);

    /// A transaction with so many callbacks has ended, well or not, after so long. What only has to be tried again,
    /// because another session holds a lock, has not ended.
    fn committed(&self, callbacks: usize, took: Duration, result: Result<(), &LedgerError>);
}

/// Nobody watches.
impl CommitObserver for () {
    fn taken(&self, _: Duration) {}

    fn committed(&self, _: usize, _: Duration, _: Result<(), &LedgerError>) {}
}

/// Settles the callbacks that arrive while the previous transaction is under way together in the next one:
/// one transaction and one `fsync` for all of them. No timer and no added delay: a lone callback goes at
/// once. Each caller waits for its own answer; a caller that goes away changes nothing.
///
/// Callbacks of payments that another session has locked leave their batch and are tried again in a thread of their own,
/// so that they do not delay the others.
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
    pub fn start(
        ledger: &Arc<dyn Ledger>,
        clock: &Arc<dyn Clock>,
        limits: GroupCommitLimits,
        observer: Arc<dyn CommitObserver>,
    ) -> std::io::Result<Self> {
        let intake = Arc::new(Intake::new(limits.queue_max));
        let held = Arc::new(HeldCallbacks::default());
        let committer = || Committer {
            ledger: Arc::clone(ledger),
            clock: Arc::clone(clock),
            observer: Arc::clone(&observer),
            held: Arc::clone(&held),
            patience: limits.patience,
        };
        let start_committer = |index| {
            let (intake, committer) = (Arc::clone(&intake), committer());
            thread::Builder::new().name(format!("committer-{index}")).spawn(move || {
                while let Some(batch) = intake.take(limits.batch_max) {
                    for waiting in &batch {
                        committer.observer.taken(waiting.since.elapsed());
                    }
                    isolated(|| committer.commit_new(batch));
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

    /// Hands a callback over; the answer comes when it is settled and stored. It is settled even if nobody
    /// waits for the answer.
    ///
    /// # Errors
    /// [`ReceiveError::Full`] at once; the others when the transaction has failed.
    pub async fn submit(&self, callback: Callback) -> Result<Settlement, ReceiveError> {
        let (answer, answered) = oneshot::channel();
        self.intake.put(Waiting { callback, since: Instant::now(), answer }, self.held.len())?;
        answered.await.unwrap_or(Err(ReceiveError::Lost))
    }

    /// How many callbacks wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.intake.lock().waiting.len() + self.held.len()
    }

    /// How many may wait.
    #[must_use]
    pub fn queue_max(&self) -> usize {
        self.intake.queue_max
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

/// A callback whose caller waits for its answer.
pub(crate) struct Waiting {
    pub(crate) callback: Callback,
    pub(crate) since: Instant,
    pub(crate) answer: oneshot::Sender<Result<Settlement, ReceiveError>>,
}

impl Waiting {
    pub(crate) fn payment_id(&self) -> Option<&PaymentId> {
        self.callback.reading.payment_id()
    }
}

/// The bounded queue between those who ask and those who commit.
struct Intake {
    queue_max: usize,
    state: Mutex<IntakeState>,
    changed: Condvar,
}

struct IntakeState {
    waiting: VecDeque<Waiting>,
    closed: bool,
}

impl Intake {
    fn new(queue_max: usize) -> Self {
        let state = IntakeState { waiting: VecDeque::new(), closed: false };
        Self { queue_max, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// No code that can panic runs under the lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, IntakeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a callback wait, beside so many others that wait elsewhere.
    fn put(&self, waiting: Waiting, elsewhere: usize) -> Result<(), ReceiveError> {
        let mut state = self.lock();
        if state.closed || state.waiting.len() + elsewhere >= self.queue_max {
            return Err(ReceiveError::Full);
        }
        state.waiting.push_back(waiting);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for callbacks and takes those that are there; `None` when there will be no more.
    fn take(&self, batch_max: usize) -> Option<Vec<Waiting>> {
        let idle = |state: &mut IntakeState| state.waiting.is_empty() && !state.closed;
        let mut state = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let count = state.waiting.len().min(batch_max);
        (count > 0).then(|| state.waiting.drain(..count).collect())
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

/// Commits batches, and sets apart what another session holds up.
struct Committer {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn CommitObserver>,
    held: Arc<HeldCallbacks>,
    patience: Duration,
}

impl Committer {
    /// Commits callbacks that have just come.
    fn commit_new(&self, batch: Vec<Waiting>) {
        if !self.held.any_payment() {
            return self.commit(batch, LockWait::Short);
        }
        let (held, free) = self.held.split(batch);
        let payments = held.iter().filter_map(Waiting::payment_id).cloned().collect();
        self.set_apart(held, LedgerError::Held { payments });
        self.commit(free, LockWait::Minimal);
    }

    fn commit(&self, mut batch: Vec<Waiting>, lock_wait: LockWait) {
        let begun = Instant::now();
        while !batch.is_empty() {
            match self.settle(&batch, lock_wait) {
                Ok(settlements) => return answer(batch, settlements),
                Err(LedgerError::Held { payments }) => {
                    let is_held = |waiting: &Waiting| waiting.payment_id().is_some_and(|id| payments.contains(id));
                    let (held, free): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_held);
                    self.held.remember(&payments);
                    self.set_apart(held, LedgerError::Held { payments });
                    batch = free;
                }
                // One bad callback must not sink its neighbours.
                Err(LedgerError::Corrupt { .. } | LedgerError::Refused(_) | LedgerError::Hindered(_))
                    if batch.len() > 1 =>
                {
                    return self.commit_one_by_one(batch, begun);
                }
                Err(error @ LedgerError::Hindered(_)) => {
                    self.held.remember(batch.iter().filter_map(Waiting::payment_id));
                    return self.set_apart(batch, error);
                }
                Err(error) => return fail(batch, Arc::new(error)),
            }
        }
    }

    fn commit_one_by_one(&self, batch: Vec<Waiting>, begun: Instant) {
        let mut batch = batch.into_iter();
        while let Some(waiting) = batch.next() {
            match self.settle(slice::from_ref(&waiting), LockWait::Minimal) {
                Ok(settlements) => answer([waiting], settlements),
                Err(error @ (LedgerError::Corrupt { .. } | LedgerError::Refused(_))) => {
                    fail([waiting], Arc::new(error))
                }
                Err(error @ (LedgerError::Held { .. } | LedgerError::Hindered(_)))
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
    fn set_apart(&self, callbacks: Vec<Waiting>, error: LedgerError) {
        let error = Arc::new(error);
        for waiting in callbacks {
            let late = waiting.since.elapsed() >= self.patience;
            let given_up = if late { Some(waiting) } else { self.held.put(waiting) };
            if let Some(waiting) = given_up {
                self.observer.committed(1, waiting.since.elapsed(), Err(&error));
                fail([waiting], Arc::clone(&error));
            }
        }
    }

    fn settle(&self, batch: &[Waiting], lock_wait: LockWait) -> Result<Vec<Settlement>, LedgerError> {
        let begun = Instant::now();
        let notifications = batch.iter().filter_map(|waiting| match &waiting.callback.reading {
            Reading::Valid(notification) => Some(notification),
            Reading::Invalid { .. } => None,
        });
        let keys = Keys { lock_wait, ..Keys::of_notifications(notifications) };
        let settled = self.ledger.amend(&keys, |books| {
            batch.iter().map(|waiting| settle_one(books, &*self.clock, &waiting.callback)).collect()
        });
        if !matches!(settled, Err(LedgerError::Held { .. } | LedgerError::Hindered(_))) {
            self.observer.committed(batch.len(), begun.elapsed(), settled.as_ref().map(drop));
        }
        settled
    }
}

fn answer(batch: impl IntoIterator<Item = Waiting>, settlements: Vec<Settlement>) {
    for (waiting, settlement) in batch.into_iter().zip(settlements) {
        // Nobody may be waiting any more; it is settled all the same.
        let _ = waiting.answer.send(Ok(settlement));
    }
}

fn fail(batch: impl IntoIterator<Item = Waiting>, error: Arc<LedgerError>) {
    for waiting in batch {
        let _ = waiting.answer.send(Err(ReceiveError::Ledger(Arc::clone(&error))));
    }
}

fn settle_one(books: &mut Books, clock: &dyn Clock, callback: &Callback) -> Settlement {
    let Callback { reading, received_at, body_sha256, caller } = callback;
    let receipt = Receipt {
        delivery_id: next_delivery_id(clock, *received_at),
        received_at: *received_at,
        source: Source::Callback,
        body_sha256: Some(*body_sha256),
        key_name: caller.key_name.clone(),
        request_id: caller.request_id.clone(),
    };
    match reading {
        Reading::Valid(notification) => books.settle(notification, receipt),
        Reading::Invalid { payload, reason } => books.note_invalid(payload.clone(), reason.clone(), receipt),
    }
}
