//! Points in time as senders write them.

use chrono::{DateTime, Datelike as _, Utc};

/// The text is no RFC 3339 time between the years 0 and 9999 (in UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an RFC 3339 time, such as 2025-01-01T12:00:00Z")]
pub struct TimestampError;

/// Parses an RFC 3339 time with any offset. Kept to the microsecond, which is what a ledger can store;
/// two times that differ by less are the same.
///
/// # Errors
/// [`TimestampError`], also when the time lies outside the years 0 to 9999 once it is in UTC: it could not
/// be written as RFC 3339 again.
pub fn parse_timestamp(text: &str) -> Result<DateTime<Utc>, TimestampError> {
    // RFC 3339 §5.6 wants a `T`; chrono also takes a space there.
    if !matches!(text.as_bytes().get(10), Some(b'T' | b't')) {
        return Err(TimestampError);
    }
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| TimestampError)?;
    // By way of the count of microseconds, which has no leap seconds: databases have none either.
    let time = DateTime::from_timestamp_micros(time.timestamp_micros()).ok_or(TimestampError)?;
    if (0..=9999).contains(&time.year()) { Ok(time) } else { Err(TimestampError) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_offset_and_any_fraction_are_read() {
        let utc = parse_timestamp("2025-01-01T12:00:00.5Z").expect("valid");
        assert_eq!(parse_timestamp("2025-01-01T14:00:00.500+02:00"), Ok(utc));
        assert_eq!(parse_timestamp("2025-01-01T12:00:00.500000999Z"), Ok(utc));
    }

    #[test]
    fn a_leap_second_is_the_second_after_it() {
        assert_eq!(parse_timestamp("2016-12-31T23:59:60.5Z"), parse_timestamp("2017-01-01T00:00:00.5Z"));
    }

    #[test]
    fn what_is_no_rfc_3339_time_is_refused() {
        for text in [
            "",
            "2025-01-01",
            "2025-01-01 12:00:00Z",
            "2025-01-01T12:00:00",
            "2025-13-01T12:00:00Z",
            "2025-02-30T12:00:00Z",
            "1735732800",
            "0000-01-01T00:00:00+23:00",
            "9999-12-31T23:59:59-23:00",
            "2025-01-01T12:00:00Z ",
        ] {
            assert_eq!(parse_timestamp(text), Err(TimestampError), "{text:?}");
        }
    }
}
