//! The queue to the stream, as those who log meet it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use slog::{Drain, Never, OwnedKVList, Record, RecordStatic};
use slog_async::AsyncCore;

use crate::counts::{Destination, Fate, LogCounts};
use crate::timestamp;

/// Records that may wait to be written.
pub(crate) const QUEUE_MAX: usize = 8192;

/// How long a logging call waits for room. Somebody's callback waits meanwhile, and so does whatever else is on
/// its thread.
const PATIENCE: Duration = Duration::from_millis(20);

/// How long it waits before it looks again.
const PAUSE: Duration = Duration::from_millis(1);

/// Stamps records and puts them into the queue. The stamp is the record's tag, for slog-async keeps that and
/// would ask a value that is a function only when its thread gets to the record.
pub(crate) struct Entrance {
    pub(crate) queue: AsyncCore,
    pub(crate) room: Arc<Room>,
    pub(crate) counts: Arc<LogCounts>,
    /// Whom a record misses that does not get in.
    pub(crate) destinations: &'static [Destination],
    pub(crate) now: fn() -> DateTime<Utc>,
}

impl Drain for Entrance {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let tag = timestamp((self.now)());
        let stamped = RecordStatic { location: record.location(), level: record.level(), tag: &tag };
        let stamped = Record::new(&stamped, record.msg(), record.kv());
        if !self.room.put(|| self.queue.log(&stamped, values).is_ok()) {
            self.destinations.iter().for_each(|destination| self.counts.add(*destination, Fate::Dropped, 1));
        }
        Ok(())
    }
}

/// How full the queue is, as both of its ends see it.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Records that are in the queue, or on their way into it or out of it.
    waiting: AtomicUsize,
    /// There was no room for as long as anybody waits.
    stalled: AtomicBool,
    dropped: AtomicU64,
}

impl Room {
    /// Tries until there is room, but not for long. Says whether it is in.
    fn put(&self, try_to_put: impl Fn() -> bool) -> bool {
        // Before it is in: the other end may be quick.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        if try_to_put() || self.wait_for_room(&try_to_put) {
            return true;
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
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

    /// A record has left the queue. Says how many were dropped, as soon as there is room again: not one place,
    /// which a reader that crawls makes as well, but half of all.
    pub(crate) fn leave(&self) -> Option<u64> {
        let waiting = self.waiting.fetch_sub(1, Ordering::SeqCst) - 1;
        if waiting > QUEUE_MAX / 2 {
            return None;
        }
        self.stalled.store(false, Ordering::SeqCst);
        Some(self.dropped.swap(0, Ordering::SeqCst)).filter(|dropped| *dropped > 0)
    }

    pub(crate) fn wait_until_empty(&self, patience: Duration) {
        let began = Instant::now();
        while self.waiting.load(Ordering::SeqCst) > 0 && began.elapsed() < patience {
            thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Room {
        Room { waiting: AtomicUsize::new(QUEUE_MAX), ..Room::default() }
    }

    #[test]
    fn nobody_waits_again_until_there_is_room() {
        let room = full();
        let waits = |room: &Room| {
            let tried = AtomicUsize::new(0);
            assert!(!room.put(|| tried.fetch_add(1, Ordering::SeqCst) == usize::MAX));
            tried.into_inner() > 1
        };
        assert!(waits(&room));
        assert!(!waits(&room));
        assert_eq!(room.leave(), None);
        assert!(!waits(&room), "one place is no room");
        while room.waiting.load(Ordering::SeqCst) > QUEUE_MAX / 2 + 1 {
            assert_eq!(room.leave(), None);
        }
        assert_eq!((room.leave(), room.leave()), (Some(3), None));
        assert!(waits(&room), "now somebody who keeps up may be waited for");
    }
}
