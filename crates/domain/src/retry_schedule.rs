//! When an event is sent again.

use std::str::FromStr;
use std::time::Duration;

/// The most pauses that a schedule may have.
const PAUSES_MAX: usize = 100;

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The longest `Retry-After` of the portal that is waited for (contract §7).
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10 * 60 * 60);

/// The pauses between the attempts to send an event: one attempt more than there are pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySchedule(Vec<Duration>);

/// The text is no schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 100 whole numbers of seconds, separated by commas, each from 1 to 2592000")]
pub struct RetryScheduleError;

impl RetrySchedule {
    /// How long to wait after so many failed attempts, at least one; `None` if there is no further attempt. The pause
    /// of the schedule varies by ±20 %, from `random` = 0 to `random` = 1, so that events that failed together do not
    /// come back together. Where the portal asks for more by `Retry-After`, that is waited for, up to 10 hours.
    #[must_use]
    pub fn pause(&self, failures: u32, retry_after: Duration, random: f64) -> Option<Duration> {
        let index = usize::try_from(failures).ok()?.checked_sub(1)?;
        let pause = self.0.get(index)?.mul_f64(0.8 + 0.4 * random.clamp(0.0, 1.0));
        Some(pause.max(retry_after.min(RETRY_AFTER_MAX)))
    }

    /// The pauses in whole seconds, as they are written.
    #[must_use]
    pub fn seconds(&self) -> String {
        self.0.iter().map(|pause| pause.as_secs().to_string()).collect::<Vec<_>>().join(",")
    }
}

impl FromStr for RetrySchedule {
    type Err = RetryScheduleError;

    fn from_str(text: &str) -> Result<Self, RetryScheduleError> {
        let pause = |text: &str| {
            let pause = text.trim().parse().map(Duration::from_secs).map_err(|_| RetryScheduleError)?;
            let allowed = Duration::from_secs(1)..=PAUSE_MAX;
            if allowed.contains(&pause) { Ok(pause) } else { Err(RetryScheduleError) }
        };
        let pauses: Vec<_> = text.split(',').map(pause).collect::<Result<_, _>>()?;
        if pauses.len() <= PAUSES_MAX { Ok(Self(pauses)) } else { Err(RetryScheduleError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = "5,60,300,1800,7200,18000,36000,36000";

    /// The pauses after the first, the second, … failure, in seconds.
    fn pauses(schedule: &str, retry_after_s: u64, random: f64) -> Vec<Option<f64>> {
        let schedule: RetrySchedule = schedule.parse().expect("a schedule");
        let retry_after = Duration::from_secs(retry_after_s);
        (1..=9).map(|failures| Some(schedule.pause(failures, retry_after, random)?.as_secs_f64())).collect()
    }

    #[test]
    fn an_event_has_one_attempt_more_than_there_are_pauses() {
        let expected = [5.0, 60.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0].map(Some);
        assert_eq!(pauses(DEFAULT, 0, 0.5), [&expected[..], &[None]].concat());
        assert_eq!(pauses("1", 0, 0.5)[..2], [Some(1.0), None]);
    }

    #[test]
    fn pauses_vary_by_a_fifth() {
        for (random, expect) in [(0.0, 80.0), (0.5, 100.0), (1.0, 120.0), (7.0, 120.0), (-1.0, 80.0)] {
            assert_eq!(pauses("100", 0, random)[0], Some(expect), "{random}");
        }
    }

    #[test]
    fn the_portal_may_ask_for_more_but_not_for_less_and_not_without_bounds() {
        for (retry_after_s, expect) in [(0, 60.0), (59, 60.0), (61, 61.0), (36_000, 36_000.0), (u64::MAX, 36_000.0)] {
            assert_eq!(pauses("60", retry_after_s, 0.5)[0], Some(expect), "{retry_after_s}");
        }
        assert_eq!(pauses("60", 3600, 0.5)[1], None, "asking gives no further attempt");
    }

    #[test]
    fn only_whole_seconds_are_read() {
        for text in ["1", "5,60", " 5 , 60 ", "2592000"] {
            assert!(text.parse::<RetrySchedule>().is_ok(), "{text:?}");
        }
        let many = vec!["1"; 101].join(",");
        for text in ["", ",", "5,", "0", "-1", "1.5", "5s", "2592001", &many] {
            assert_eq!(text.parse::<RetrySchedule>(), Err(RetryScheduleError), "{text:?}");
        }
        assert_eq!(" 5, 60".parse::<RetrySchedule>().map(|schedule| schedule.seconds()), Ok("5,60".to_owned()));
    }
}
