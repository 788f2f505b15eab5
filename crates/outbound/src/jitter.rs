//! Pauses that differ: clients that failed together should not come back together.

use std::hash::{BuildHasher as _, RandomState};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The pause times a random factor from this range, such as `0.8..=1.2` for ±20 %. Factors must not be negative.
#[must_use]
pub fn jittered(pause: Duration, factors: RangeInclusive<f64>) -> Duration {
    // Each of these is made with keys of its own.
    scaled(pause, factors, RandomState::new().hash_one(()))
}

fn scaled(pause: Duration, factors: RangeInclusive<f64>, random: u64) -> Duration {
    let (least, most) = factors.into_inner();
    let share = random as f64 / u64::MAX as f64;
    pause.mul_f64(least + (most - least) * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_scaled_by_a_factor_of_the_range() {
        let pause = Duration::from_secs(100);
        for (factors, random, expect) in [
            (0.5..=1.0, 0, 50),
            (0.5..=1.0, u64::MAX, 100),
            (0.8..=1.2, 0, 80),
            (0.8..=1.2, u64::MAX / 2, 100),
            (0.8..=1.2, u64::MAX, 120),
            (1.0..=1.0, 7, 100),
            (0.0..=0.0, 7, 0),
        ] {
            assert_eq!(scaled(pause, factors.clone(), random), Duration::from_secs(expect), "{factors:?} {random}");
        }
    }

    #[test]
    fn pauses_differ_within_the_range() {
        let pause = Duration::from_secs(5);
        let pauses: Vec<_> = (0..200).map(|_| jittered(pause, 0.5..=1.0)).collect();
        assert!(pauses.iter().all(|jittered| (pause / 2..=pause).contains(jittered)), "{pauses:?}");
        assert!(pauses.iter().any(|jittered| *jittered != pauses[0]));
    }
}
