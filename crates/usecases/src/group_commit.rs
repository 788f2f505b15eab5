use std::collections::VecDeque;
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use domain::{Books, Settlement};
use ports::{Keys, Ledger, LedgerError};
use tokio::sync::oneshot;

use crate::receive_notification::{Callback, Reading, ReceiveError};

/// How many callbacks of a batch may be held up, each for as long as the ledger waits for a lock, before the
/// rest of it is given up: their senders do not wait for ever.
const HINDRANCES_MAX: usize = 2;

/// How much a [`GroupCommit`] takes on.
#[derive(Debug, Clone, Copy)]
pub struct GroupCommitLimits {
    /// Callbacks that wait; beyond it they are turned away.
    pub queue_max: usize,
    /// Callbacks in one transaction.
    pub batch_max: usize,
    /// Threads that commit, each needing a connection while it does.
    pub committers: usize,
}

/// Is told what the threads that commit do.
pub trait CommitObserver: Send + Sync {
    /// A callback has left the queue after so long.
    fn taken(&self, waited: Duration);

    /// A transaction with so many callbacks has ended, well or not, after so long.
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
pub struct GroupCommit {
    intake: Arc<Intake>,
    committers: Mutex<Vec<JoinHandle<()>>>,
}

impl GroupCommit {
    /// Starts the threads that commit.
    ///
    /// # Errors
    /// The operating system gave no thread.
    pub fn start(
        ledger: &Arc<dyn Ledger>,
        limits: GroupCommitLimits,
        observer: Arc<dyn CommitObserver>,
    ) -> std::io::Result<Self> {
        let intake = Arc::new(Intake::new(limits.queue_max));
        let committer = |index| {
            let intake = Arc::clone(&intake);
            let ledger = ObservedLedger { ledger: Arc::clone(ledger), observer: Arc::clone(&observer) };
            thread::Builder::new().name(format!("committer-{index}")).spawn(move || {
                while let Some(batch) = intake.take(limits.batch_max) {
                    for waiting in &batch {
                        ledger.observer.taken(waiting.since.elapsed());
                    }
                    // A panic is a defect that its own callers are told of (their answers are dropped); the
                    // callbacks after them must still be settled.
                    let _ = catch_unwind(AssertUnwindSafe(|| commit(&ledger, batch)));
                }
            })
        };
        let committers = (0..limits.committers).map(committer).collect::<Result<_, _>>()?;
        Ok(Self { intake, committers: Mutex::new(committers) })
    }

    /// Hands a callback over; the answer comes when it is settled and stored. It is settled even if nobody
    /// waits for the answer.
    ///
    /// # Errors
    /// [`ReceiveError::Full`] at once; the others when the transaction has failed.
    pub async fn submit(&self, callback: Callback) -> Result<Settlement, ReceiveError> {
        let (answer, answered) = oneshot::channel();
        self.intake.put(Waiting { callback, since: Instant::now(), answer })?;
        answered.await.unwrap_or(Err(ReceiveError::Lost))
    }

    /// How many callbacks wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.intake.lock().waiting.len()
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
    }
}

struct Waiting {
    callback: Callback,
    since: Instant,
    answer: oneshot::Sender<Result<Settlement, ReceiveError>>,
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

    fn put(&self, waiting: Waiting) -> Result<(), ReceiveError> {
        let mut state = self.lock();
        if state.closed || state.waiting.len() >= self.queue_max {
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

/// The ledger, and who watches what is committed there.
struct ObservedLedger {
    ledger: Arc<dyn Ledger>,
    observer: Arc<dyn CommitObserver>,
}

fn commit(ledger: &ObservedLedger, batch: Vec<Waiting>) {
    match settle(ledger, &batch) {
        Ok(settlements) => answer(batch, settlements),
        // One bad callback must not sink its neighbours.
        Err(LedgerError::Corrupt { .. } | LedgerError::Refused(_) | LedgerError::Hindered(_)) if batch.len() > 1 => {
            commit_one_by_one(ledger, batch);
        }
        Err(error) => fail(batch, error),
    }
}

fn commit_one_by_one(ledger: &ObservedLedger, batch: Vec<Waiting>) {
    let mut hindrances = 0;
    let mut batch = batch.into_iter();
    while let Some(waiting) = batch.next() {
        match settle(ledger, slice::from_ref(&waiting)) {
            Ok(settlements) => answer([waiting], settlements),
            Err(error @ (LedgerError::Corrupt { .. } | LedgerError::Refused(_))) => fail([waiting], error),
            Err(error @ LedgerError::Hindered(_)) if hindrances < HINDRANCES_MAX => {
                hindrances += 1;
                fail([waiting], error);
            }
            Err(error) => return fail(iter::once(waiting).chain(batch), error),
        }
    }
}

fn answer(batch: impl IntoIterator<Item = Waiting>, settlements: Vec<Settlement>) {
    for (waiting, settlement) in batch.into_iter().zip(settlements) {
        // Nobody may be waiting any more; it is settled all the same.
        let _ = waiting.answer.send(Ok(settlement));
    }
}

fn fail(batch: impl IntoIterator<Item = Waiting>, error: LedgerError) {
    let error = Arc::new(error);
    for waiting in batch {
        let _ = waiting.answer.send(Err(ReceiveError::Ledger(Arc::clone(&error))));
    }
}

fn settle(observed: &ObservedLedger, batch: &[Waiting]) -> Result<Vec<Settlement>, LedgerError> {
    let ObservedLedger { ledger, observer } = observed;
    let begun = Instant::now();
    let notifications = batch.iter().filter_map(|waiting| match &waiting.callback.reading {
        Reading::Valid(notification) => Some(notification),
        Reading::Invalid { .. } => None,
    });
    let settled = ledger.amend(&Keys::of_notifications(notifications), |books| {
        batch.iter().map(|waiting| settle_one(books, &waiting.callback)).collect()
    });
    observer.committed(batch.len(), begun.elapsed(), settled.as_ref().map(drop));
    settled
}

fn settle_one(books: &mut Books, callback: &Callback) -> Settlement {
    let receipt = callback.receipt.clone();
    match &callback.reading {
        Reading::Valid(notification) => books.settle(notification, receipt),
        Reading::Invalid { payload, reason } => books.note_invalid(payload.clone(), reason.clone(), receipt),
    }
}
