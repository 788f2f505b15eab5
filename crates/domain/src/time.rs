//! Points in time as senders write them.

use std::borrow::Cow;

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

/// Parses a sender's time: RFC 3339, or ISO 8601 with a space for the `T`, with an offset of `+0000` or `+00`, or with
/// none, which is UTC (contract §3).
///
/// # Errors
/// As [`parse_timestamp`].
pub fn parse_reported_timestamp(text: &str) -> Result<DateTime<Utc>, TimestampError> {
    parse_timestamp(text).or_else(|error| parse_timestamp(&as_rfc3339(text).ok_or(error)?))
}

/// The same time as RFC 3339 writes it, if the text is long enough for one.
fn as_rfc3339(text: &str) -> Option<String> {
    let (date, time) = (text.get(..10)?, text.get(10..)?.strip_prefix(['T', 't', ' '])?);
    let (time, offset) = time.split_at(time.find(['Z', 'z', '+', '-']).unwrap_or(time.len()));
    let offset: Cow<'_, str> = match offset.len() {
        0 => "Z".into(),
        3 => format!("{offset}:00").into(),
        5 => format!("{}:{}", offset.get(..3)?, offset.get(3..)?).into(),
        _ => offset.into(),
    };
    Some(format!("{date}T{time}{offset}"))
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
    fn a_sender_s_time_may_be_written_in_other_ways_of_iso_8601() {
        let noon = parse_timestamp("2025-01-01T12:00:00Z");
        for text in [
            "2025-01-01T12:00:00Z",
            "2025-01-01t12:00:00z",
            "2025-01-01T12:00:00",
            "2025-01-01 12:00:00",
            "2025-01-01 12:00:00Z",
            "2025-01-01T12:00:00+0000",
            "2025-01-01T12:00:00-00",
            "2025-01-01 14:00:00+02",
            "2025-01-01T06:30:00.000-0530",
            "2025-01-01 12:00:00.000000000000",
        ] {
            assert_eq!(parse_reported_timestamp(text), noon, "{text}");
        }
        for text in [
            "",
            "2025-01-01",
            "2025-01-01T12:00",
            "2025-01-01_12:00:00",
            "2025-01-01  12:00:00",
            "2025-01-01T12:00:00 +0000",
            "2025-01-01T12:00:00+0",
            "2025-01-01T12:00:00+000",
            "2025-01-01T12:00:00+00000",
            "2025-01-01T12:00:00+é0",
            "2025-01-01T12:00:00Z ",
            "2025-13-01 12:00:00",
            "2025-01-01T12:00:00CET",
            "1735732800",
            "ěščřžýáíé",
        ] {
            assert_eq!(parse_reported_timestamp(text), Err(TimestampError), "{text:?}");
        }
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
