use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use domain::{Currency, Decimal, OrderId, PaymentId, PaymentMethod, PaymentStatus, TransactionId, parse_timestamp};
use outbound::header::{HeaderMap, HeaderValue};
use outbound::{Answer, Client, Failure, Limits, Request, RetryRules, Url, Verdict, post_json};
use ports::Clock as _;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::{Value, json};
use signatures::sign;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP};
use uuid::Uuid;

use crate::clock::SystemClock;
use crate::output::Format;
use crate::settings::{self, SenderCredentials, word_of};

pub(crate) const KEY_HELP: &str = "\
Needs from the environment (or a .env file in the working directory) at least one of:
  PAYMENT_API_KEY         the key for X-API-Key (of several, the first)
  PAYMENT_WEBHOOK_SECRET  the whsec_… secret to sign with (of several, the first)

Waits 30 s for an answer; tries again after 1, 2 and 4 s on network errors and 5xx, never on 4xx.
No proxy is used, whatever the environment says.";

/// The documented sender's timeout (neighbours.md).
const TIMEOUT: Duration = Duration::from_secs(30);

const LIMITS: Limits =
    Limits { connect_max: TIMEOUT, attempt_max: TIMEOUT, idle_max: TIMEOUT, answer_bytes_max: 1024 * 1024 };

/// The documented sender tries again after 5xx only, and ignores `Retry-After`.
const RULES: RetryRules = RetryRules { is_final: |status| !status.is_server_error(), retry_after_max: Duration::ZERO };

/// The documented sender's pauses before it tries again. It makes them after broken connections, too.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The service's base URL, such as http://127.0.0.1:8080
    #[arg(long, env = "SEND_URL", value_name = "URL", value_parser = base_url)]
    url: Url,
    /// Which payment
    #[arg(long, env = "SEND_PAYMENT_ID", value_name = "ID", value_parser = PaymentId::parse)]
    payment_id: PaymentId,
    /// Which order it is for
    #[arg(long, env = "SEND_ORDER_ID", value_name = "ID", value_parser = OrderId::parse)]
    order_id: OrderId,
    /// How far the payment has come
    #[arg(long, env = "SEND_STATUS", value_name = "STATUS", value_parser = word_of::<PaymentStatus>())]
    status: PaymentStatus,
    /// What happened to it [default: the status]; refunded with status completed is a partial refund
    #[arg(long, env = "SEND_EVENT", value_name = "EVENT", value_parser = word_of::<PaymentStatus>())]
    event: Option<PaymentStatus>,
    /// How it is made [default: none, as the deployed sender]
    #[arg(long, env = "SEND_METHOD", value_name = "METHOD", value_parser = word_of::<PaymentMethod>())]
    method: Option<PaymentMethod>,
    /// The sender's time, as RFC 3339 [default: now]
    #[arg(long, env = "SEND_TIMESTAMP", value_name = "TIME", value_parser = timestamp)]
    timestamp: Option<String>,
    /// The amount that was paid, such as 29.00; with event refunded, what was refunded, all or part of it
    #[arg(long, env = "SEND_AMOUNT", value_name = "DECIMAL")]
    amount: Option<Decimal>,
    /// Its currency, as ISO 4217
    #[arg(long, env = "SEND_CURRENCY", value_name = "CODE", value_parser = Currency::parse)]
    currency: Option<Currency>,
    /// The provider's id of the transaction
    #[arg(long, env = "SEND_TRANSACTION_ID", value_name = "ID", value_parser = TransactionId::parse)]
    transaction_id: Option<TransactionId>,
    #[command(flatten)]
    format: Format,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SentDocument {
    delivered: bool,
    attempts: usize,
    http_status: Option<u16>,
    answer: Option<Value>,
    error: Option<String>,
}

impl Send {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let body = self.body();
        let credentials = credentials(&body)?;
        let mut request = post_json(self.url.clone(), body);
        request.headers_mut().extend(credentials);
        let client = Client::new(LIMITS).context("the HTTP client cannot be made")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sent = runtime.block_on(deliver(&client, &request));
        self.format.print(&sent, SentDocument::for_people)?;
        if sent.http_status.is_none() {
            eprintln!("payment-callback: {}", sent.summary());
        }
        Ok(if sent.delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn body(&self) -> String {
        let timestamp = self.timestamp.clone();
        let now = || adapters_http::documents::Timestamp::from(SystemClock.now()).0;
        let mut body = json!({
            "paymentId": self.payment_id.as_str(),
            "orderId": self.order_id.as_str(),
            "status": <&str>::from(self.status),
            "event": <&str>::from(self.event.unwrap_or(self.status)),
            "timestamp": timestamp.unwrap_or_else(now),
        });
        if let Some(method) = self.method {
            body["paymentMethod"] = json!(<&str>::from(method));
        }
        if let Some(id) = &self.transaction_id {
            body["metadata"] = json!({ "providerTransactionId": id.as_str() });
        }
        if let Some(amount) = self.amount {
            body["amount"] = json!(amount.to_string());
        }
        if let Some(currency) = self.currency {
            body["currency"] = json!(currency.code());
        }
        body.to_string()
    }
}

/// The headers that prove that the callback comes from the upstream.
fn credentials(body: &str) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let SenderCredentials { key, signing_secret } = SenderCredentials::read()?;
    if let Some(key) = key {
        let mut key = HeaderValue::from_str(key.expose_secret())?;
        key.set_sensitive(true);
        headers.insert("x-api-key", key);
    }
    if let Some(secret) = signing_secret {
        let (id, now) = (new_message_id(), SystemClock.now().timestamp());
        let signature = sign([&secret], &id, now, body.as_bytes())?;
        headers.insert(HEADER_WEBHOOK_ID, id.parse()?);
        headers.insert(HEADER_WEBHOOK_TIMESTAMP, now.into());
        headers.insert(HEADER_WEBHOOK_SIGNATURE, signature.parse()?);
    }
    Ok(headers)
}

#[expect(clippy::disallowed_methods, reason = "a message's id only has to be new; its time is in another header")]
fn new_message_id() -> String {
    format!("msg_{}", Uuid::now_v7().simple())
}

/// Sends until there is an answer other than 5xx, or for as often as the upstream would.
async fn deliver(client: &Client, request: &Request) -> SentDocument {
    let mut pauses = PAUSES.iter();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let attempted = client.attempt(request).await.and_then(Answer::whole);
        let pause = match RULES.verdict(&attempted) {
            Verdict::RetryAtOnce | Verdict::RetryAfterPause { .. } => pauses.next(),
            Verdict::Delivered | Verdict::GiveUp => None,
        };
        match pause {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return SentDocument::new(attempts, attempted),
        }
    }
}

impl SentDocument {
    fn for_people(&self) -> String {
        let answer = self.answer.as_ref().map(|answer| format!("{answer:#}\n"));
        format!("{}\n{}", self.summary(), answer.unwrap_or_default())
    }

    /// Whether there was an answer, in one line.
    fn summary(&self) -> String {
        let attempts = if self.attempts == 1 { "attempt" } else { "attempts" };
        match (self.http_status, &self.error) {
            (Some(status), _) => format!("answered {status} after {} {attempts}", self.attempts),
            (None, error) => {
                format!("no answer after {} {attempts}: {}", self.attempts, error.as_deref().unwrap_or_default())
            }
        }
    }

    fn new(attempts: usize, attempted: Result<Answer, Failure>) -> Self {
        match attempted {
            Ok(Answer { status, body, .. }) => {
                let as_text = |_| Value::String(String::from_utf8_lossy(&body).into_owned());
                Self {
                    delivered: status.is_success(),
                    attempts,
                    http_status: Some(status.as_u16()),
                    answer: Some(serde_json::from_slice(&body).unwrap_or_else(as_text)),
                    error: None,
                }
            }
            Err(failure) => {
                Self { delivered: false, attempts, http_status: None, answer: None, error: Some(failure.reason) }
            }
        }
    }
}

fn base_url(text: &str) -> Result<Url, &'static str> {
    let base = settings::http_url(text)?;
    let path = format!("{}/api/payments/webhook", base.path().trim_end_matches('/'));
    base.join(&path).map_err(|_| "must be a base URL")
}

fn timestamp(text: &str) -> Result<String, domain::TimestampError> {
    parse_timestamp(text).map(|_| text.to_owned())
}
