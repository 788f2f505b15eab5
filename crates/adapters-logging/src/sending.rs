//! How one record gets to the central logging service.

use std::io;
use std::time::{Duration, Instant};

use outbound::{Client, Limits, RetryRules, Url, Verdict, final_unless_transient, jittered, post_json, reason};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::counts::{Disposition, LossCounter};

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// How long an unused connection is kept: the service closes it after 5 s (neighbours.md).
const IDLE_MAX: Duration = Duration::from_secs(4);

/// The first pause before another attempt; each is twice as long as the one before it.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// The longest pause, also if the service asks for more.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How much of an answer is read, so that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The service may accept later what it answers with 408, 429 or 5xx, and never what it answers otherwise.
const RULES: RetryRules = RetryRules { is_final: final_unless_transient, retry_after_max: PAUSE_MAX };

/// A record in the queue.
pub(crate) struct Queued {
    pub(crate) body: Vec<u8>,
    pub(crate) since: Instant,
}

/// Sends records one by one.
pub(crate) struct Sender {
    client: Client,
    url: Url,
    offered_for: Duration,
}

impl Sender {
    pub(crate) fn new(url: Url, attempt_max: Duration, offered_for: Duration) -> io::Result<Self> {
        let limits =
            Limits { connect_max: CONNECT_MAX, attempt_max, idle_max: IDLE_MAX, answer_bytes_max: ANSWER_BYTES_MAX };
        let client = Client::new(limits).map_err(io::Error::other)?;
        Ok(Self { client, url, offered_for })
    }

    /// Tries until the record is accepted or refused, or `offered_for` has passed since it was queued. It may arrive
    /// twice, if an answer was lost. While the program ends, pauses are short.
    pub(crate) async fn send(
        &self,
        record: Queued,
        losses: &LossCounter,
        mut finishing: watch::Receiver<Option<Duration>>,
    ) -> Disposition {
        let Queued { body, since } = record;
        let request = post_json(self.url.clone(), body);
        let mut pause = PAUSE_MIN;
        let mut may_retry_at_once = true;
        loop {
            let attempted = self.client.attempt(&request).await;
            let verdict = RULES.verdict(&attempted);
            if verdict != Verdict::Delivered {
                losses.attempt_failed(reason(&attempted));
            }
            let at_least = match verdict {
                Verdict::Delivered => return Disposition::Written,
                Verdict::GiveUp => return Disposition::Refused,
                Verdict::RetryAtOnce if may_retry_at_once => {
                    may_retry_at_once = false;
                    continue;
                }
                Verdict::RetryAtOnce => Duration::ZERO,
                Verdict::RetryAfterPause { at_least } => at_least,
            };
            if since.elapsed() >= self.offered_for {
                return Disposition::Dropped;
            }
            if finishing.borrow().is_some() {
                sleep(PAUSE_MIN).await;
            } else {
                let pause = jittered(pause, 0.5..=1.0).max(at_least);
                let _ = timeout(pause, finishing.wait_for(Option::is_some)).await;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use outbound::header::{HeaderValue, RETRY_AFTER};
    use simulator::{Behaviour, Server, json_answer};

    use super::*;

    async fn check(status: u16, retry_after: Option<&'static str>, expect: Verdict) {
        let answer = move |_| {
            let mut answer = json_answer(status, &serde_json::Value::Null);
            if let Some(value) = retry_after {
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(value));
            }
            answer
        };
        let server = Server::start(answer, Behaviour::Proper).expect("a server");
        let url = server.url().parse().expect("a URL");
        let sender = Sender::new(url, Duration::from_secs(30), Duration::ZERO).expect("a sender");
        let attempted = sender.client.attempt(&post_json(sender.url, "{}")).await;
        assert_eq!(RULES.verdict(&attempted), expect, "{status} {retry_after:?}");
    }

    #[tokio::test]
    async fn an_answer_says_what_to_do_next() {
        let after = |seconds| Verdict::RetryAfterPause { at_least: Duration::from_secs(seconds) };
        for status in [200, 201, 204] {
            check(status, None, Verdict::Delivered).await;
        }
        for status in [301, 302, 307, 400, 401, 404, 409, 413, 422] {
            check(status, Some("1"), Verdict::GiveUp).await;
        }
        for status in [408, 429, 500, 502, 503, 504] {
            check(status, None, after(0)).await;
            check(status, Some("3"), after(3)).await;
            check(status, Some("3600"), after(5)).await;
            check(status, Some("Fri, 31 Dec 1999 23:59:59 GMT"), after(0)).await;
        }
    }
}
