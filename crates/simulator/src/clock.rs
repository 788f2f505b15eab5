//! The time, as neighbours write it.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};

/// The time of this machine.
#[expect(clippy::disallowed_methods, reason = "neighbours have clocks of their own")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// A time as RFC 3339, in UTC with milliseconds.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The time of this machine as RFC 3339, in UTC with milliseconds.
#[must_use]
pub fn timestamp() -> String {
    rfc3339(now())
}
