use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use domain::{
    Currency, Decimal, OrderId, PaymentId, PaymentMethod, PaymentStatus, TransactionId, parse_timestamp, parse_word,
};
use ports::Clock as _;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::{Value, json};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use uuid::Uuid;

use crate::clock::SystemClock;
use crate::output::Format;
use crate::settings::{self, SenderCredentials};

pub(crate) const KEY_HELP: &str = "\
Needs from the environment (or a .env file in the working directory) at least one of:
  PAYMENT_API_KEY         the key to bear in X-API-Key (of several, the first)
  PAYMENT_WEBHOOK_SECRET  the whsec_… secret to sign with (of several, the first)

Waits 30 s for an answer; tries again after 1, 2 and 4 s on network errors and 5xx, never on 4xx.
No proxy is used, whatever the environment says.";

/// The documented sender's timeout (neighbours.md).
const TIMEOUT: Duration = Duration::from_secs(30);

/// The documented sender's pauses before it tries again.
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
    /// pending, processing, completed, failed, cancelled or refunded
    #[arg(long, env = "SEND_STATUS", value_name = "STATUS", value_parser = parse_word::<PaymentStatus>)]
    status: PaymentStatus,
    /// The same words [default: the status]; refunded with status completed is a partial refund
    #[arg(long, env = "SEND_EVENT", value_name = "EVENT", value_parser = parse_word::<PaymentStatus>)]
    event: Option<PaymentStatus>,
    /// webpay, inner, invoice, paypal, card, stripe, payu, fiobanka or comgate [default: none, as the deployed sender]
    #[arg(long, env = "SEND_METHOD", value_name = "METHOD", value_parser = parse_word::<PaymentMethod>)]
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
        let headers = headers(&body)?;
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            // The key is for the service alone, and most often this machine's.
            .no_proxy()
            .default_headers(headers)
            .build()
            .context("the HTTP client cannot be made")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sent = runtime.block_on(deliver(&client, &self.url, &body));
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

/// What proves that the callback comes from the upstream.
fn headers(body: &str) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let SenderCredentials { key, signing_secret } = SenderCredentials::read()?;
    if let Some(key) = key {
        let mut key = HeaderValue::from_str(key.expose_secret())?;
        key.set_sensitive(true);
        headers.insert("x-api-key", key);
    }
    if let Some(secret) = signing_secret {
        let webhook = Webhook::new(secret.expose_secret())?;
        let (id, now) = (format!("msg_{}", Uuid::now_v7().simple()), SystemClock.now().timestamp());
        let signature = webhook.sign(&id, now, body.as_bytes())?;
        headers.insert(HEADER_WEBHOOK_ID, id.parse()?);
        headers.insert(HEADER_WEBHOOK_TIMESTAMP, now.into());
        headers.insert(HEADER_WEBHOOK_SIGNATURE, signature.parse()?);
    }
    Ok(headers)
}

/// Sends until there is an answer other than 5xx, or for as often as the upstream would.
async fn deliver(client: &Client, url: &Url, body: &str) -> SentDocument {
    let mut pauses = PAUSES.iter();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let answer = attempt(client, url, body).await;
        let final_answer = matches!(&answer, Ok((status, _)) if !status.is_server_error());
        match pauses.next() {
            Some(pause) if !final_answer => tokio::time::sleep(*pause).await,
            _ => return SentDocument::new(attempts, answer),
        }
    }
}

async fn attempt(client: &Client, url: &Url, body: &str) -> reqwest::Result<(StatusCode, String)> {
    let response = client.post(url.clone()).body(body.to_owned()).send().await?;
    let status = response.status();
    Ok((status, response.text().await?))
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

    fn new(attempts: usize, answer: reqwest::Result<(StatusCode, String)>) -> Self {
        match answer {
            Ok((status, text)) => Self {
                delivered: status.is_success(),
                attempts,
                http_status: Some(status.as_u16()),
                answer: Some(serde_json::from_str(&text).unwrap_or(Value::String(text))),
                error: None,
            },
            Err(error) => Self {
                delivered: false,
                attempts,
                http_status: None,
                answer: None,
                error: Some(format!("{:#}", anyhow::Error::new(error))),
            },
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
