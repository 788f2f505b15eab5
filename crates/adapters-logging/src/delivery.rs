//! How one record gets to the central logging service.

use std::error::Error;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Request, Response, StatusCode, Url, redirect};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::central::Account;
use crate::counts::Fate;

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// How long an unused connection is kept: the service closes it after 5 s (neighbours.md).
const IDLE_MAX: Duration = Duration::from_secs(4);

/// The first pause before another attempt; each is twice as long as the one before it.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// The longest pause, also if the service asks for more.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What of an answer is read, so that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What of an error is told.
const REASON_BYTES_MAX: usize = 500;

/// A record that waits to be delivered.
pub(crate) struct Waiting {
    pub(crate) body: Vec<u8>,
    pub(crate) since: Instant,
}

/// Delivers records one by one.
pub(crate) struct Delivery {
    client: Client,
    url: Url,
    offered_for: Duration,
}

/// Why an attempt failed, and what to do next.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    reason: String,
    next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The connection broke. Most likely it was one that the service had closed.
    AtOnce,
    /// The service may take it later, but not before this time has passed.
    After(Duration),
    /// The service will never take it.
    Never,
}

impl Delivery {
    pub(crate) fn new(url: Url, attempt_max: Duration, offered_for: Duration) -> io::Result<Self> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_MAX)
            .timeout(attempt_max)
            .pool_idle_timeout(IDLE_MAX)
            .build()
            .map_err(io::Error::other)?;
        Ok(Self { client, url, offered_for })
    }

    /// Tries until the record is taken or will never be, or for as long as a record is offered. It may arrive
    /// twice, where an answer was lost. At the end of the program pauses are short.
    pub(crate) async fn deliver(
        &self,
        record: Waiting,
        account: &Account,
        mut finishing: watch::Receiver<Option<Duration>>,
    ) -> Fate {
        let Waiting { body, since } = record;
        let mut request = Request::new(Method::POST, self.url.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(body.into());
        let mut pause = PAUSE_MIN;
        let mut fresh = true;
        // A body of bytes can be sent again.
        while let Some(request) = request.try_clone() {
            let Err(Failure { reason, next }) = self.attempt(request).await else {
                return Fate::Written;
            };
            account.failed(reason);
            let at_least = match next {
                Next::Never => return Fate::Refused,
                Next::AtOnce if fresh => {
                    fresh = false;
                    continue;
                }
                Next::AtOnce => Duration::ZERO,
                Next::After(pause) => pause,
            };
            if since.elapsed() >= self.offered_for {
                break;
            }
            if finishing.borrow().is_some() {
                sleep(PAUSE_MIN).await;
            } else {
                let _ = timeout(jittered(pause).max(at_least), finishing.wait_for(Option::is_some)).await;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Fate::Dropped
    }

    async fn attempt(&self, request: Request) -> Result<(), Failure> {
        let mut response = self.client.execute(request).await.map_err(Failure::of_error)?;
        let judgement = judge(&response);
        let mut left = ANSWER_BYTES_MAX;
        while let Ok(Some(chunk)) = response.chunk().await
            && chunk.len() < left
        {
            left -= chunk.len();
        }
        judgement
    }
}

/// What an answer means.
fn judge(response: &Response) -> Result<(), Failure> {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let next = match status {
        status if status.is_success() => return Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Next::after_seconds(retry_after),
        status if status.is_server_error() => Next::after_seconds(retry_after),
        _ => Next::Never,
    };
    Err(Failure { reason: format!("answered {status}"), next })
}

impl Next {
    fn after_seconds(seconds: Option<u64>) -> Self {
        Self::After(Duration::from_secs(seconds.unwrap_or(0)).min(PAUSE_MAX))
    }
}

impl Failure {
    fn of_error(error: reqwest::Error) -> Self {
        let next = if error.is_timeout() || error.is_connect() { Next::After(Duration::ZERO) } else { Next::AtOnce };
        Self { reason: chain(&error.without_url()), next }
    }
}

/// Between half of it and all of it: what failed together should not come back together.
fn jittered(pause: Duration) -> Duration {
    // Every one of these has keys of its own.
    let random = RandomState::new().hash_one(()) % 1024;
    pause / 2 + pause / 2 * u32::try_from(random).unwrap_or(0) / 1024
}

/// An error with all its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.truncate(text.floor_char_boundary(REASON_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Response {
        let mut response = http::Response::new("");
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        if let Some(value) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, value.parse().expect("a value"));
        }
        response.into()
    }

    fn check(status: u16, retry_after: Option<&str>, expect: Option<Next>) {
        let next = judge(&answer(status, retry_after)).err().map(|failure| failure.next);
        assert_eq!(next, expect, "{status} {retry_after:?}");
    }

    #[test]
    fn an_answer_says_what_to_do_next() {
        let after = |seconds| Some(Next::After(Duration::from_secs(seconds)));
        for status in [200, 201, 204] {
            check(status, None, None);
        }
        for status in [301, 302, 307, 400, 401, 404, 409, 413, 422] {
            check(status, Some("1"), Some(Next::Never));
        }
        for status in [408, 429, 500, 502, 503, 504] {
            check(status, None, after(0));
            check(status, Some("3"), after(3));
            check(status, Some("3600"), after(5));
            check(status, Some("Fri, 31 Dec 1999 23:59:59 GMT"), after(0));
        }
    }

    #[test]
    fn a_pause_is_at_least_half_as_long_and_never_longer() {
        let pauses: Vec<_> = (0..200).map(|_| jittered(PAUSE_MAX)).collect();
        assert!(pauses.iter().all(|pause| (PAUSE_MAX / 2..=PAUSE_MAX).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }

    #[test]
    fn a_reason_names_all_causes_but_has_an_end() {
        let error = io::Error::other("é".repeat(10_000));
        assert!(chain(&error).len() <= REASON_BYTES_MAX);
        let outer = serde_json::Error::io(io::Error::other("inner"));
        assert!(chain(&outer).contains("inner"));
    }
}
