//! How many records went where, and the reports on those that were lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slog::{Logger, warn};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::DROPPED;

/// Where records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The stream.
    Stdout,
    /// The central logging service.
    Central,
}

impl Destination {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Central];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Central => "central",
        }
    }
}

/// What became of a record at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It has arrived.
    Written,
    /// A queue was full, or it could not be delivered in time.
    Dropped,
    /// The destination will never accept it.
    Refused,
}

impl Disposition {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Written, Self::Dropped, Self::Refused];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
        }
    }
}

/// How many records went where, since the start.
#[derive(Debug, Default)]
pub struct LogCounts([[AtomicU64; Disposition::ALL.len()]; Destination::ALL.len()]);

impl LogCounts {
    /// How many records had this disposition at this destination.
    #[must_use]
    pub fn get(&self, destination: Destination, disposition: Disposition) -> u64 {
        self.count(destination, disposition).load(Ordering::Relaxed)
    }

    /// All of these counts.
    pub fn all(&self) -> impl Iterator<Item = (Destination, Disposition, u64)> {
        let of = |destination| {
            Disposition::ALL.map(|disposition| (destination, disposition, self.get(destination, disposition)))
        };
        Destination::ALL.into_iter().flat_map(of)
    }

    pub(crate) fn add(&self, destination: Destination, disposition: Disposition, count: u64) {
        self.count(destination, disposition).fetch_add(count, Ordering::Relaxed);
    }

    fn count(&self, destination: Destination, disposition: Disposition) -> &AtomicU64 {
        &self.0[destination as usize][disposition as usize]
    }
}

/// Counts what became of the records for the central logging service, and reports those that were lost.
pub(crate) struct LossCounter {
    counts: Arc<LogCounts>,
    /// Records that are in the queue or being sent.
    queued: AtomicU64,
    /// Losses that have not been reported yet.
    dropped: AtomicU64,
    refused: AtomicU64,
    /// Why the latest failed attempt failed.
    reason: Mutex<Option<String>>,
    lost: Notify,
}

impl LossCounter {
    pub(crate) fn new(counts: Arc<LogCounts>) -> Self {
        Self {
            counts,
            queued: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            reason: Mutex::new(None),
            lost: Notify::new(),
        }
    }

    /// A record is about to enter the queue.
    pub(crate) fn queued(&self) {
        self.queued.fetch_add(1, Ordering::SeqCst);
    }

    /// A queued record is done with.
    pub(crate) fn settled(&self, disposition: Disposition) {
        self.queued.fetch_sub(1, Ordering::SeqCst);
        match disposition {
            Disposition::Written => self.counts.add(Destination::Central, disposition, 1),
            Disposition::Dropped | Disposition::Refused => self.lost(disposition, 1),
        }
    }

    /// A record did not get into the queue.
    pub(crate) fn not_queued(&self, disposition: Disposition) {
        self.lost(disposition, 1);
    }

    /// The queue is given up, with all that is in it.
    pub(crate) fn abandoned(&self) {
        self.lost(Disposition::Dropped, self.queued.swap(0, Ordering::SeqCst));
    }

    /// An attempt has failed.
    pub(crate) fn attempt_failed(&self, reason: String) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    fn lost(&self, disposition: Disposition, count: u64) {
        self.counts.add(Destination::Central, disposition, count);
        let unreported = if disposition == Disposition::Refused { &self.refused } else { &self.dropped };
        unreported.fetch_add(count, Ordering::SeqCst);
        self.lost.notify_one();
    }

    /// Reports losses as they occur, at most one report in this time. Never returns.
    pub(crate) async fn report_losses(&self, log: &Logger, every: Duration) {
        loop {
            self.lost.notified().await;
            self.report(log);
            sleep(every).await;
        }
    }

    /// Reports what was lost since the last report, if anything was.
    pub(crate) fn report(&self, log: &Logger) {
        let (dropped, refused) = (self.dropped.swap(0, Ordering::SeqCst), self.refused.swap(0, Ordering::SeqCst));
        if dropped + refused > 0 {
            let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
            warn!(log, "{DROPPED}"; "destination" => Destination::Central.word(), "count" => dropped + refused,
                "refused" => refused, "error" => reason.unwrap_or_else(|| "too many records at once".to_owned()));
        }
    }
}
