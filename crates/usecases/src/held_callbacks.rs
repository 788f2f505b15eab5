use std::collections::HashMap;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use domain::PaymentId;

use crate::intake::QueuedCallback;

/// Callbacks that may wait for other sessions' locks at a time; beyond it they fail at once.
const CALLBACKS_MAX: usize = 256;

/// Payments that are remembered as held.
const PAYMENTS_MAX: usize = 1024;

/// How long a payment counts as held after it was last found so.
const REMEMBERED: Duration = Duration::from_secs(5);

/// The pause before callbacks are tried again.
const PAUSE: Duration = Duration::from_millis(25);

/// Callbacks of payments that another session has locked, and which payments were found locked lately. Both are
/// bounded.
#[derive(Default)]
pub(crate) struct HeldCallbacks {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    callbacks: Vec<QueuedCallback>,
    /// How many callbacks were taken to be tried again.
    taken: usize,
    /// When these payments were last found held.
    payments: HashMap<PaymentId, Instant>,
    closed: bool,
}

impl HeldCallbacks {
    /// No code that can panic runs under the lock, so poisoning means nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many callbacks wait.
    pub(crate) fn len(&self) -> usize {
        let state = self.lock();
        state.callbacks.len() + state.taken
    }

    /// Remembers that these payments are held.
    pub(crate) fn remember<'a>(&self, payments: impl IntoIterator<Item = &'a PaymentId>) {
        let mut state = self.lock();
        for id in payments {
            if state.payments.len() < PAYMENTS_MAX || state.payments.contains_key(id) {
                state.payments.insert(id.clone(), Instant::now());
            }
        }
    }

    /// Whether any payment was found held lately.
    pub(crate) fn any_payment(&self) -> bool {
        let payments = &mut self.lock().payments;
        payments.retain(|_, found_at| found_at.elapsed() < REMEMBERED);
        !payments.is_empty()
    }

    /// Splits a batch into callbacks of payments that were found held lately, and the others.
    pub(crate) fn split(&self, batch: Vec<QueuedCallback>) -> (Vec<QueuedCallback>, Vec<QueuedCallback>) {
        let payments = &self.lock().payments;
        batch.into_iter().partition(|waiting| waiting.payment_id().is_some_and(|id| payments.contains_key(id)))
    }

    /// Lets a callback wait, or hands it back if too many wait.
    pub(crate) fn put(&self, waiting: QueuedCallback) -> Option<QueuedCallback> {
        let mut state = self.lock();
        if state.callbacks.len() >= CALLBACKS_MAX {
            return Some(waiting);
        }
        state.callbacks.push(waiting);
        drop(state);
        self.changed.notify_one();
        None
    }

    /// Waits for callbacks, pauses and takes all that are there; `None` when there will be no more.
    pub(crate) fn take(&self) -> Option<Vec<QueuedCallback>> {
        let mut state = self.lock();
        state.taken = 0;
        let idle = |state: &mut State| state.callbacks.is_empty() && !state.closed;
        let state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        if state.callbacks.is_empty() {
            return None;
        }
        drop(state);
        thread::sleep(PAUSE);
        let mut state = self.lock();
        state.taken = state.callbacks.len();
        Some(mem::take(&mut state.callbacks))
    }

    /// Takes no more callbacks when those that wait are settled or given up.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}
