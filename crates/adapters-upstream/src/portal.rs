//! The portal's receiver of events (contract §7).

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{Event, EventAttempt};
use outbound::header::{HeaderMap, HeaderName, HeaderValue};
use outbound::{Answer, Client, Failure, Limits, Request, RetryRules, StatusCode, Url, Verdict, post_json, reason};
use ports::{Clock, Notified, PendingEvent, PortalNotifier, Reaction};
use serde::Serialize;
use signatures::{SigningSecret, sign};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP};

const LIMITS: Limits = Limits {
    connect_max: Duration::from_secs(10),
    attempt_max: Duration::from_secs(10),
    idle_max: Duration::from_secs(30),
    answer_bytes_max: 64 * 1024,
};

/// Only a portal that says that it wants an event no more is not asked again. How long a `Retry-After` is waited for is
/// decided with the schedule.
const RULES: RetryRules = RetryRules { is_final: |status| status == StatusCode::GONE, retry_after_max: Duration::MAX };

/// A connection that breaks this soon was closed before the request came.
const STALE_MAX: Duration = Duration::from_secs(1);

/// Sends events to the portal, signed with every secret.
pub struct Portal {
    client: Client,
    url: Url,
    secrets: Vec<SigningSecret>,
    clock: Arc<dyn Clock>,
}

/// What is sent.
#[derive(Serialize)]
struct Message<Data> {
    r#type: &'static str,
    timestamp: String,
    data: Data,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventData<'a> {
    order_id: &'a str,
    payment_id: &'a str,
    payment_method: &'static str,
    amount: String,
    currency: &'static str,
    paid_at: Option<String>,
}

#[derive(Serialize)]
struct NoData {}

impl Portal {
    /// Does not connect yet.
    ///
    /// # Errors
    /// The TLS library cannot be initialised.
    pub fn new(url: Url, secrets: Vec<SigningSecret>, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        Ok(Self { client: Client::new(LIMITS)?, url, secrets, clock })
    }

    /// Sends a `ping`, which every receiver has to take, under this id.
    pub async fn ping(&self, id: &str) -> Notified {
        self.post(id, &Message { r#type: "ping", timestamp: rfc3339(self.clock.now()), data: NoData {} }).await
    }

    async fn post(&self, id: &str, message: &Message<impl Serialize>) -> Notified {
        let (attempted_at, begun) = (self.clock.now(), Instant::now());
        let request = self.request(id, attempted_at, message);
        let mut attempted = self.client.attempt(&request).await;
        if RULES.verdict(&attempted) == Verdict::RetryAtOnce && begun.elapsed() < STALE_MAX {
            attempted = self.client.attempt(&request).await;
        }
        let answered = attempted.as_ref().ok().map(|answer| answer.status);
        let error = (!answered.is_some_and(|status| status.is_success())).then(|| reason(&attempted));
        let status = answered.map(|status| status.as_u16());
        Notified {
            attempt: EventAttempt { attempted_at, duration: begun.elapsed(), status, error },
            reaction: reaction(&attempted),
        }
    }

    fn request(&self, id: &str, now: DateTime<Utc>, message: &Message<impl Serialize>) -> Request {
        let body = serde_json::to_string(message).expect("JSON of plain values");
        let timestamp = now.timestamp();
        let signature = sign(&self.secrets, id, timestamp, body.as_bytes()).expect("a signature of text");
        let headers = [
            (HEADER_WEBHOOK_ID, id.to_owned()),
            (HEADER_WEBHOOK_TIMESTAMP, timestamp.to_string()),
            (HEADER_WEBHOOK_SIGNATURE, signature),
            ("x-request-id", id.to_owned()),
        ];
        let header = |(name, value): (&'static str, String)| {
            (HeaderName::from_static(name), HeaderValue::try_from(value).expect("an id and base64"))
        };
        let mut request = post_json(self.url.clone(), body);
        request.headers_mut().extend(headers.map(header).into_iter().collect::<HeaderMap>());
        request
    }
}

impl PortalNotifier for Portal {
    async fn notify(&self, pending: &PendingEvent) -> Notified {
        let PendingEvent { event, method, price, failures: _ } = pending;
        let Event { id, kind, order_id, payment_id, paid_at, created_at } = event;
        let data = EventData {
            order_id: order_id.as_str(),
            payment_id: payment_id.as_str(),
            payment_method: (*method).into(),
            amount: price.amount().to_string(),
            currency: price.currency().code(),
            paid_at: paid_at.map(rfc3339),
        };
        let message = Message { r#type: (*kind).into(), timestamp: rfc3339(*created_at), data };
        self.post(&id.to_string(), &message).await
    }
}

fn reaction(attempted: &Result<Answer, Failure>) -> Reaction {
    match (RULES.verdict(attempted), attempted) {
        (Verdict::Delivered, _) => Reaction::Acknowledged,
        (Verdict::GiveUp, Ok(_)) => Reaction::Gone,
        (Verdict::RetryAfterPause { at_least }, _) => Reaction::TryAgain { retry_after: at_least },
        // Without an answer, the portal has not said that it wants the event no more.
        (Verdict::GiveUp | Verdict::RetryAtOnce, _) => Reaction::TryAgain { retry_after: Duration::ZERO },
    }
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
