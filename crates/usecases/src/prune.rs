use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use ports::{Clock, LedgerError, RecordCounts, RecordPosition, Retention};

use crate::Observer;

/// How many audit entries, and how many events, are looked at and removed at a time.
const RECORDS_MAX: usize = 100;

/// The shortest pause between two removals. SQLite's other writers may be another process, which tries again only now
/// and then.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// Removes old records that are no longer needed, beside a service that settles callbacks.
pub struct Prune {
    /// From where.
    pub retention: Arc<dyn Retention>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Only what is older was looked at.
    pub before: DateTime<Utc>,
    /// Whether it was only looked at.
    pub dry_run: bool,
    /// What was removed, or would be.
    pub removed: RecordCounts,
    /// What is as old and still needed.
    pub needed: RecordCounts,
}

impl Prune {
    /// Removes what is older than this and no longer needed, in small transactions. `progress` is called after each. It
    /// may be interrupted at any moment and run again. A dry run removes nothing.
    ///
    /// # Errors
    /// As [`Retention`]. What was removed before stays removed.
    pub fn run(
        &self,
        older_than: TimeDelta,
        dry_run: bool,
        progress: &mut dyn FnMut(&Pruned),
    ) -> Result<Pruned, LedgerError> {
        let begun = Instant::now();
        let before = self.clock.now() - older_than;
        let mut pruned = Pruned { before, dry_run, removed: RecordCounts::default(), needed: RecordCounts::default() };
        let result = self.remove_all(&mut pruned, progress);
        self.observer.pruned(&pruned, begun.elapsed());
        result.map(|()| pruned)
    }

    fn remove_all(&self, pruned: &mut Pruned, progress: &mut dyn FnMut(&Pruned)) -> Result<(), LedgerError> {
        let mut next = Some(RecordPosition::default());
        while let Some(position) = next {
            let records = self.retention.removable(pruned.before, position, RECORDS_MAX)?;
            if pruned.dry_run {
                pruned.removed += records.counts();
            } else if records.counts() != RecordCounts::default() {
                let begun = Instant::now();
                pruned.removed += self.retention.remove(&records)?;
                // Callbacks get at least half of the time.
                thread::sleep(begun.elapsed().max(PAUSE_MIN));
            }
            pruned.needed += records.needed;
            progress(pruned);
            next = records.next;
        }
        Ok(())
    }
}
