use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::{PaymentId, Settlement};
use tokio::sync::oneshot;

use crate::callback::{Callback, ReceiveError};

/// How much a [`GroupCommit`](crate::GroupCommit) takes on.
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

/// A callback whose caller waits for its answer.
pub(crate) struct QueuedCallback {
    pub(crate) callback: Callback,
    pub(crate) since: Instant,
    pub(crate) answer: oneshot::Sender<Result<Settlement, ReceiveError>>,
}

impl QueuedCallback {
    pub(crate) fn payment_id(&self) -> Option<&PaymentId> {
        self.callback.body.payment_id()
    }
}

/// How long callbacks wait for more of them while another transaction is under way: longer than most commits take. A
/// transaction that takes longer must not hold up others.
const WAIT_BESIDE_OTHERS_MAX: Duration = Duration::from_millis(5);

/// How long after the last transaction they wait for more of them while none is under way.
const WAIT_ALONE_MAX: Duration = Duration::from_millis(1);

/// Fewer callbacks at a time do not wait.
const CROWD_MIN: usize = 8;

/// The bounded queue between those who ask and those who commit.
///
/// A callback on an idle service is taken at once. Under load, few and large transactions cost less than many small
/// ones, above all where replicas share the database's processors. So callbacks wait for more of them: while another
/// transaction is under way, until they fill a quarter of a batch; just after one, until most of those are there that
/// it answered or left waiting, for their senders are about to send again. Both waits are bounded.
pub(crate) struct Intake {
    queue_max: usize,
    batch_max: usize,
    committers: usize,
    state: Mutex<IntakeState>,
    changed: Condvar,
}

struct IntakeState {
    waiting: VecDeque<QueuedCallback>,
    /// Batches that were taken and are not finished.
    under_way: usize,
    /// When the last batch was finished, and how many callbacks it had and were waiting then: so many senders may send
    /// again at about the same time.
    finished_at: Instant,
    crowd: usize,
    closed: bool,
}

impl Intake {
    pub(crate) fn new(limits: GroupCommitLimits) -> Self {
        let GroupCommitLimits { queue_max, batch_max, committers, patience: _ } = limits;
        let state = IntakeState {
            waiting: VecDeque::new(),
            under_way: 0,
            finished_at: Instant::now(),
            crowd: 0,
            closed: false,
        };
        Self { queue_max, batch_max, committers, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// No code that can panic runs under the lock, so poisoning means nothing.
    fn lock(&self) -> MutexGuard<'_, IntakeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many callbacks wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether callbacks wait or are being committed.
    pub(crate) fn is_busy(&self) -> bool {
        let state = self.lock();
        state.under_way > 0 || !state.waiting.is_empty()
    }

    /// How many may wait.
    pub(crate) fn queue_max(&self) -> usize {
        self.queue_max
    }

    /// How many callbacks are worth a transaction, and until when they wait to become so many. A full queue is.
    fn worth_a_batch(&self, state: &IntakeState) -> (usize, Instant) {
        let since = state.waiting.front().map_or(state.finished_at, |oldest| oldest.since);
        let (enough, until) = if state.under_way > 0 {
            (self.batch_max.div_ceil(4), since + WAIT_BESIDE_OTHERS_MAX)
        } else if self.committers == 1 || state.crowd < CROWD_MIN {
            // The only committer would do nothing meanwhile.
            (1, since)
        } else {
            (state.crowd * 7 / 8, state.finished_at + WAIT_ALONE_MAX)
        };
        (enough.min(self.queue_max), until)
    }

    /// Lets a callback wait, beside so many others that wait elsewhere.
    pub(crate) fn put(&self, waiting: QueuedCallback, elsewhere: usize) -> Result<(), ReceiveError> {
        let mut state = self.lock();
        if state.closed || state.waiting.len() + elsewhere >= self.queue_max {
            return Err(ReceiveError::Full);
        }
        state.waiting.push_back(waiting);
        // In between, the committer that waits for more need not look.
        let notify = state.waiting.len() == 1 || state.waiting.len() >= self.worth_a_batch(&state).0;
        drop(state);
        if notify {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for callbacks and takes a batch of those that are there; `None` when there will be no more.
    /// [`Intake::finished`] must follow.
    pub(crate) fn take(&self) -> Option<Vec<QueuedCallback>> {
        let mut state = self.lock();
        loop {
            let (enough, until) = self.worth_a_batch(&state);
            let left = until.saturating_duration_since(Instant::now());
            if state.waiting.is_empty() {
                if state.closed {
                    return None;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else if state.waiting.len() < enough && !left.is_zero() && !state.closed {
                (state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            } else {
                break;
            }
        }
        state.under_way += 1;
        let count = state.waiting.len().min(self.batch_max);
        Some(state.waiting.drain(..count).collect())
    }

    /// A batch of so many, which was taken, is finished.
    pub(crate) fn finished(&self, count: usize) {
        let mut state = self.lock();
        state.under_way -= 1;
        state.finished_at = Instant::now();
        state.crowd = (count + state.waiting.len()).min(self.batch_max);
    }

    /// Takes no more callbacks.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_worth_a_part_of_what_could_come_but_never_more_than_the_queue_holds() {
        for (committers, queue_max, under_way, crowd, expected) in [
            (2, 4096, 0, 0, 1),
            (2, 4096, 0, 7, 1),
            (2, 4096, 0, 8, 7),
            (2, 4096, 0, 64, 56),
            (1, 4096, 0, 64, 1),
            (2, 4096, 1, 0, 16),
            (2, 4096, 1, 64, 16),
            (2, 6, 1, 64, 6),
            (2, 6, 0, 64, 6),
        ] {
            let limits = GroupCommitLimits { queue_max, batch_max: 64, committers, patience: Duration::ZERO };
            let intake = Intake::new(limits);
            let mut state = intake.lock();
            (state.under_way, state.crowd) = (under_way, crowd);
            let enough = intake.worth_a_batch(&state).0;
            assert_eq!(enough, expected, "{committers} {queue_max} {under_way} {crowd}");
        }
    }
}
