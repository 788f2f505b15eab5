use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ports::{LedgerStats, Upkeep};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use crate::Blocking;

/// The store's stats, asked for one question at a time: who asks while a question is under way shares the next one, so
/// that many who ask cause no more work than one.
pub struct StatsCache {
    upkeep: Blocking<dyn Upkeep>,
    newest: Arc<AsyncMutex<Option<Answer>>>,
    latest: Mutex<Option<LedgerStats>>,
}

struct Answer {
    begun: Instant,
    stats: Option<LedgerStats>,
}

impl StatsCache {
    /// The stats of this store, not known yet.
    #[must_use]
    pub fn new(upkeep: Blocking<dyn Upkeep>) -> Self {
        Self { upkeep, newest: Arc::default(), latest: Mutex::default() }
    }

    /// Asks the store and waits for its answer, but not longer than this.
    pub async fn refresh(&self, patience: Duration) {
        let stats = timeout(patience, self.ask()).await.ok().flatten();
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }

    /// What the store last answered; `None` if it failed or did not answer in time.
    #[must_use]
    pub fn latest(&self) -> Option<LedgerStats> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask(&self) -> Option<LedgerStats> {
        let asked = Instant::now();
        let mut newest = Arc::clone(&self.newest).lock_owned().await;
        if let Some(answer) = newest.as_ref().filter(|answer| answer.begun >= asked) {
            return answer.stats.clone();
        }
        // The lock moves into the work: the question has ended when the work has, even if the caller is gone.
        let ask = self.upkeep.run(move |upkeep| {
            let begun = Instant::now();
            let stats = upkeep.stats().ok();
            *newest = Some(Answer { begun, stats: stats.clone() });
            stats
        });
        ask.await.ok().flatten()
    }
}
