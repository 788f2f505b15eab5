//! How payments-microservice calls back (neighbours.md): as documented, as its older version does, and wrongly on
//! demand.

use std::fmt::{self, Display};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::runtime::{self, Runtime};
use tokio::time::{sleep, timeout};
use url::form_urlencoded;

use crate::watched::Watched;

/// The pauses of the documented sender before it tries again.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// How a callback is sent. By default once and at once, as documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// How many are sent at the same time, each with a timestamp of its own. With 0 the callback is lost.
    pub copies: u8,
    /// How long after the change it is sent, in milliseconds: callbacks of later changes overtake it.
    pub delay_ms: u32,
    /// The version of the sender.
    pub form: Form,
}

/// A version of the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As specified: it waits 30 s for an answer, and repeats after 1, 2 and 4 s where there was none, or a 5xx.
    Documented,
    /// The newest public version: no key, no method, no metadata, nothing of cancellations; it waits 5 s and never
    /// repeats.
    Older,
}

/// One attempt to deliver a callback.
#[derive(Debug, Clone, PartialEq)]
pub struct SentCallback {
    /// The body.
    pub body: Value,
    /// The attempt's number, beginning with 1.
    pub attempt: usize,
    /// The status of the answer, or why there was none. A redirect is not followed, for a sender that does takes it
    /// for success.
    pub answer: Result<u16, String>,
}

/// Where callbacks go.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    url: Uri,
    key: String,
}

/// Sends callbacks in the background. Those in progress end with it.
pub(crate) struct CallbackSender {
    runtime: Option<Runtime>,
    outbox: Arc<Outbox>,
}

struct Outbox {
    client: Client<HttpConnector, Full<Bytes>>,
    log: fn(&dyn Display),
    sent: Watched<Vec<SentCallback>>,
}

impl Default for Sending {
    fn default() -> Self {
        Self { copies: 1, delay_ms: 0, form: Form::Documented }
    }
}

impl Sending {
    /// Parses a query such as `copies=3&delay_ms=500&form=older`.
    pub(crate) fn parse(query: &str) -> Result<Self, String> {
        let mut sending = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let is_parsed = match (name.as_ref(), value.as_ref()) {
                ("copies", copies) => copies.parse().map(|copies| sending.copies = copies).is_ok(),
                ("delay_ms", delay_ms) => delay_ms.parse().map(|delay_ms| sending.delay_ms = delay_ms).is_ok(),
                ("form", "documented") => true,
                ("form", "older") => {
                    sending.form = Form::Older;
                    true
                }
                _ => false,
            };
            if !is_parsed {
                return Err(format!("{name}={value} is none of copies=0..255, delay_ms=N, form=documented|older"));
            }
        }
        Ok(sending)
    }
}

impl Form {
    /// How long an answer may take.
    fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Documented => 30,
            Self::Older => 5,
        })
    }
}

impl Display for SentCallback {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |name: &str| self.body[name].as_str().unwrap_or_default();
        write!(formatter, "called back: {}/{}", word("status"), word("event"))?;
        write!(formatter, " order={} payment={}", word("orderId"), word("paymentId"))?;
        match &self.answer {
            Ok(status) => write!(formatter, " attempt={}: {status}", self.attempt),
            Err(error) => write!(formatter, " attempt={}: {error}", self.attempt),
        }
    }
}

impl Receiver {
    /// A receiver at this `http://` URL that wants this key.
    pub(crate) fn new(url: &str, key: &str) -> io::Result<Self> {
        let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidInput, reason);
        let url: Uri = url.parse().map_err(|error| invalid(format!("{url}: {error}")))?;
        if url.scheme_str() == Some("http") {
            Ok(Self { url, key: key.to_owned() })
        } else {
            Err(invalid(format!("{url}: an http:// URL is needed")))
        }
    }
}

impl CallbackSender {
    pub(crate) fn new(log: fn(&dyn Display)) -> io::Result<Self> {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        // A connection that the receiver closes under a request loses it (neighbours.md).
        let client = Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
        let outbox = Arc::new(Outbox { client, log, sent: Watched::default() });
        Ok(Self { runtime: Some(runtime), outbox })
    }

    pub(crate) fn send(&self, receiver: Receiver, sending: Sending, body: Value) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(Arc::clone(&self.outbox).deliver(receiver, sending, body));
        }
    }

    pub(crate) fn sent(&self) -> &Watched<Vec<SentCallback>> {
        &self.outbox.sent
    }
}

impl Drop for CallbackSender {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Also where the thread that drops it belongs to a runtime.
            runtime.shutdown_background();
        }
    }
}

impl Outbox {
    async fn deliver(self: Arc<Self>, receiver: Receiver, sending: Sending, body: Value) {
        sleep(Duration::from_millis(sending.delay_ms.into())).await;
        let mut pauses = PAUSES.iter().filter(|_| sending.form == Form::Documented);
        for attempt in 1.. {
            let answer = self.attempt(&receiver, sending.form, &body).await;
            let is_final = answer.as_ref().is_ok_and(|status| *status < 500);
            let sent = SentCallback { body: body.clone(), attempt, answer };
            (self.log)(&sent);
            self.sent.change(|all| all.push(sent));
            match pauses.next() {
                Some(pause) if !is_final => sleep(*pause).await,
                _ => return,
            }
        }
    }

    async fn attempt(&self, receiver: &Receiver, form: Form, body: &Value) -> Result<u16, String> {
        let mut request = Request::post(&receiver.url).header(CONTENT_TYPE, "application/json");
        if form == Form::Documented {
            request = request.header("x-api-key", &receiver.key);
        }
        let request = request.body(Full::from(body.to_string())).map_err(|error| error.to_string())?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| error.to_string())?;
            let status = response.status().as_u16();
            // Read to its end, so that the connection is used again.
            response.into_body().collect().await.map_err(|error| error.to_string())?;
            Ok(status)
        };
        timeout(form.timeout(), exchange).await.unwrap_or_else(|_| Err("timed out".to_owned()))
    }
}
