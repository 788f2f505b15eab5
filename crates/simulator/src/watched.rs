//! A value that one thread changes and another one waits for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a condition may take before a test counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    /// The value, locked. A change through this guard wakes no one: see [`Watched::change`].
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value and wakes all threads that wait.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits for a condition. The guard is `Err` if it is still not met after a minute.
    pub(crate) fn wait_until(&self, is_met: impl Fn(&T) -> bool) -> Result<MutexGuard<'_, T>, MutexGuard<'_, T>> {
        let waited = self.changed.wait_timeout_while(self.lock(), PATIENCE, |value| !is_met(value));
        let (value, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() { Err(value) } else { Ok(value) }
    }
}
