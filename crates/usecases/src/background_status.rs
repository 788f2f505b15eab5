use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

/// What became of the rounds of a background task on this replica.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaskStatus {
    /// Rounds that were done.
    pub succeeded: u64,
    /// Rounds that failed.
    pub failed: u64,
    /// When the last round was done.
    pub last_success_at: Option<DateTime<Utc>>,
}

/// What became of all background tasks on this replica, for those who watch them.
#[derive(Debug, Default)]
pub struct BackgroundStatus(Mutex<BTreeMap<&'static str, TaskStatus>>);

impl BackgroundStatus {
    /// There will be rounds of this task.
    pub fn expect(&self, task: &'static str) {
        self.lock().entry(task).or_default();
    }

    /// A round of this task was done.
    pub fn succeeded(&self, task: &'static str, now: DateTime<Utc>) {
        let mut tasks = self.lock();
        let status = tasks.entry(task).or_default();
        status.succeeded += 1;
        status.last_success_at = Some(now);
    }

    /// A round of this task failed.
    pub fn failed(&self, task: &'static str) {
        self.lock().entry(task).or_default().failed += 1;
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, TaskStatus> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, TaskStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
