use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The first pause after a failure; it doubles with each further one.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);

/// When a task has its rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// From the end of a round to the next one, unless the task is woken.
    pub period: Duration,
    /// The longest pause after failures.
    pub back_off_max: Duration,
    /// If set, of all replicas on one store only that with the lease has rounds. It lasts so long from the beginning of
    /// a round, and must outlast the period and a round.
    pub lease: Option<Duration>,
}

impl Schedule {
    /// The pause after so many failures one after the other, at least one.
    pub(crate) fn back_off(&self, failures: u32) -> Duration {
        BACK_OFF_MIN.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(self.back_off_max)
    }
}

/// Between nine tenths of it and all of it, so that replicas that were started together do not stay together.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 1024;
    pause / 10 * 9 + pause / 10 * u32::try_from(random).unwrap_or(0) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_after_failures_up_to_a_limit() {
        let schedule = Schedule { period: Duration::from_secs(60), back_off_max: Duration::from_secs(10), lease: None };
        let seconds: Vec<_> = [1, 2, 3, 4, 5, 100].map(|failures| schedule.back_off(failures).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn jitter_shortens_by_at_most_a_tenth() {
        for _ in 0..100 {
            let pause = jittered(Duration::from_secs(10));
            assert!((Duration::from_secs(9)..=Duration::from_secs(10)).contains(&pause), "{pause:?}");
        }
    }
}
