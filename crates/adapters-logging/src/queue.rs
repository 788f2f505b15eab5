//! The queue to the stream, and what a logging call does when it is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use slog::{Drain, Never, OwnedKVList, Record, RecordStatic};
use slog_async::AsyncCore;

use crate::counts::{Destination, Disposition, LogCounts};
use crate::timestamp;

/// Records in the queue at most.
pub(crate) const QUEUE_MAX: usize = 8192;

/// How long a logging call waits for room. It blocks its thread meanwhile, with every request that is on it.
const PATIENCE: Duration = Duration::from_millis(20);

/// The time between two tries.
const PAUSE: Duration = Duration::from_millis(1);

/// Stamps records with their time and puts them into the queue. The time is the record's tag: slog-async keeps that,
/// but evaluates values that are functions only when its thread gets to the record.
pub(crate) struct QueueDrain {
    pub(crate) queue: AsyncCore,
    pub(crate) backpressure: Arc<Backpressure>,
    pub(crate) counts: Arc<LogCounts>,
    /// The destinations that a record misses when it does not get into the queue.
    pub(crate) destinations: &'static [Destination],
    pub(crate) now: fn() -> DateTime<Utc>,
}

impl Drain for QueueDrain {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let tag = timestamp((self.now)());
        let stamped = RecordStatic { location: record.location(), level: record.level(), tag: &tag };
        let stamped = Record::new(&stamped, record.msg(), record.kv());
        if !self.backpressure.put(|| self.queue.log(&stamped, values).is_ok()) {
            self.destinations.iter().for_each(|destination| self.counts.add(*destination, Disposition::Dropped, 1));
        }
        Ok(())
    }
}

/// How full the queue is, for both of its ends.
#[derive(Debug, Default)]
pub(crate) struct Backpressure {
    /// Records in the queue, being put into it, or being written.
    queued: AtomicUsize,
    /// A logging call has waited in vain: the next ones do not wait.
    stalled: AtomicBool,
    dropped: AtomicU64,
}

impl Backpressure {
    /// Tries until there is room, for at most 20 ms. Returns whether the record is in the queue.
    fn put(&self, try_to_put: impl Fn() -> bool) -> bool {
        // Counted first: the other end may take it before this thread goes on.
        self.queued.fetch_add(1, Ordering::SeqCst);
        if try_to_put() || self.wait_for_room(&try_to_put) {
            return true;
        }
        self.queued.fetch_sub(1, Ordering::SeqCst);
        self.dropped.fetch_add(1, Ordering::SeqCst);
        false
    }

    fn wait_for_room(&self, try_to_put: &impl Fn() -> bool) -> bool {
        let began = Instant::now();
        while !self.stalled.load(Ordering::SeqCst) {
            thread::sleep(PAUSE);
            if try_to_put() {
                return true;
            }
            if began.elapsed() >= PATIENCE {
                self.stalled.store(true, Ordering::SeqCst);
            }
        }
        false
    }

    /// A record has been written. Returns how many were dropped, once half of the queue is free again: a single
    /// free place would also appear with a slow reader.
    pub(crate) fn leave(&self) -> Option<u64> {
        let queued = self.queued.fetch_sub(1, Ordering::SeqCst) - 1;
        if queued > QUEUE_MAX / 2 {
            return None;
        }
        self.stalled.store(false, Ordering::SeqCst);
        Some(self.dropped.swap(0, Ordering::SeqCst)).filter(|dropped| *dropped > 0)
    }

    pub(crate) fn wait_until_empty(&self, patience: Duration) {
        let began = Instant::now();
        while self.queued.load(Ordering::SeqCst) > 0 && began.elapsed() < patience {
            thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Backpressure {
        Backpressure { queued: AtomicUsize::new(QUEUE_MAX), ..Backpressure::default() }
    }

    #[test]
    fn after_one_wait_in_vain_no_call_waits_until_half_of_the_queue_is_free() {
        let backpressure = full();
        let waits = |backpressure: &Backpressure| {
            let tried = AtomicUsize::new(0);
            assert!(!backpressure.put(|| tried.fetch_add(1, Ordering::SeqCst) == usize::MAX));
            tried.into_inner() > 1
        };
        assert!(waits(&backpressure));
        assert!(!waits(&backpressure));
        assert_eq!(backpressure.leave(), None);
        assert!(!waits(&backpressure), "one free place is not enough");
        while backpressure.queued.load(Ordering::SeqCst) > QUEUE_MAX / 2 + 1 {
            assert_eq!(backpressure.leave(), None);
        }
        assert_eq!((backpressure.leave(), backpressure.leave()), (Some(3), None));
        assert!(waits(&backpressure), "the reader keeps up again");
    }
}
