use chrono::{DateTime, SubsecRound as _, Utc};
use ports::Clock;

/// The time of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
        Utc::now().trunc_subsecs(6)
    }
}
