//! An answer: its status, what it says about another attempt, and what could be read of its body.

use std::fmt;
use std::time::{Duration, SystemTime};

use httpdate::parse_http_date;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use crate::failure::{Failure, FailureKind};

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// How long to wait before another attempt, counted from the arrival of the answer: `Retry-After`, unbounded.
    pub retry_after: Option<Duration>,
    /// Its body, or the beginning of it: see [`Answer::whole`].
    pub body: Vec<u8>,
    /// Why the body is not whole, if it is not.
    cut: Option<Failure>,
}

impl Answer {
    /// The same answer, for callers who need its whole body.
    ///
    /// # Errors
    /// The body was too long, did not come in time, or the connection broke.
    pub fn whole(mut self) -> Result<Self, Failure> {
        self.cut.take().map_or(Ok(self), Err)
    }

    /// Reads the body as far as allowed, so that the connection can be used again.
    pub(crate) async fn read(mut response: Response, received: SystemTime, bytes_max: usize) -> Self {
        let (status, retry_after) = (response.status(), retry_after(response.headers(), received));
        let mut body = Vec::new();
        let cut = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    let room = bytes_max - body.len();
                    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if chunk.len() > room {
                        break Some(Failure::new(FailureKind::TooLong, format!("more than {bytes_max} bytes")));
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(Failure::of_error(error)),
            }
        };
        Self { status, retry_after, body, cut }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "answered {}", self.status)
    }
}

/// The time that `Retry-After` asks for, in seconds or up to an HTTP date. A date is compared with the answer's own
/// `Date`, so that the clocks need not agree, or else with the time when it was received (RFC 9110, 6.6.1).
fn retry_after(headers: &HeaderMap, received: SystemTime) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let asked = text(RETRY_AFTER)?;
    if !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit is a very long time, too.
        return Some(Duration::from_secs(asked.parse().unwrap_or(u64::MAX)));
    }
    let until = parse_http_date(asked).ok()?;
    let sent = text(DATE).and_then(|date| parse_http_date(date).ok()).unwrap_or(received);
    Some(until.duration_since(sent).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(asked: &str, date: Option<&str>, expect: Option<u64>) {
        let received = parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        let headers = [(RETRY_AFTER, Some(asked)), (DATE, date)];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?.parse().expect("a value"))));
        let headers = headers.collect();
        assert_eq!(retry_after(&headers, received), expect.map(Duration::from_secs), "{asked} {date:?}");
    }

    #[test]
    fn retry_after_is_a_number_of_seconds() {
        for (asked, expect) in [("0", 0), ("3", 3), (" 120 ", 120), ("99999999999999999999999", u64::MAX)] {
            check(asked, None, Some(expect));
        }
    }

    #[test]
    fn retry_after_is_a_date_by_the_clock_of_the_server() {
        const SERVERS_CLOCK: Option<&str> = Some("Fri, 31 Dec 1999 23:59:29 GMT");
        for (asked, expect) in [
            ("Fri, 31 Dec 1999 23:59:59 GMT", 30),
            ("Friday, 31-Dec-99 23:59:59 GMT", 30),
            ("Fri Dec 31 23:59:59 1999", 30),
            ("Sat, 01 Jan 2000 00:59:29 GMT", 3600),
            ("Fri, 31 Dec 1999 23:59:29 GMT", 0),
            ("Fri, 31 Dec 1999 23:59:00 GMT", 0),
        ] {
            check(asked, SERVERS_CLOCK, Some(expect));
        }
    }

    #[test]
    fn without_a_date_of_the_server_it_counts_from_the_arrival() {
        for date in [None, Some("yesterday")] {
            check("Sun, 06 Nov 1994 08:49:47 GMT", date, Some(10));
            check("Sun, 06 Nov 1994 08:49:27 GMT", date, Some(0));
        }
    }

    #[test]
    fn other_values_of_retry_after_ask_for_nothing() {
        for asked in ["", " ", "-1", "1.5", "soon", "3 s", "2026-01-02T03:04:05Z"] {
            check(asked, None, None);
        }
        assert_eq!(retry_after(&HeaderMap::new(), SystemTime::UNIX_EPOCH), None);
    }
}
