//! The client, and one attempt with it.

use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Method, Request, Url, redirect};

use crate::answer::Answer;
use crate::failure::{Failure, FailureKind};

/// The bounds of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long connecting may take.
    pub connect_max: Duration,
    /// How long an attempt may take, from connecting to the end of the answer.
    pub attempt_max: Duration,
    /// How long an unused connection is kept. Best shorter than the server keeps it, which saves most of the attempts
    /// on connections that it has closed.
    pub idle_max: Duration,
    /// How much of an answer's body is read.
    pub answer_bytes_max: usize,
}

/// A client that keeps connections open between attempts. It follows no redirects and ignores proxies in the
/// environment: a request may hold keys that are for its receiver alone. TLS trusts the roots of the system.
#[derive(Debug, Clone)]
pub struct Client {
    client: reqwest::Client,
    answer_bytes_max: usize,
}

impl Client {
    /// Makes a client; it does not connect yet.
    ///
    /// # Errors
    /// The TLS library cannot be initialised.
    pub fn new(limits: Limits) -> Result<Self, Failure> {
        let Limits { connect_max, attempt_max, idle_max, answer_bytes_max } = limits;
        let client = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(connect_max)
            .timeout(attempt_max)
            .pool_idle_timeout(idle_max)
            .build()
            .map_err(Failure::of_error)?;
        Ok(Self { client, answer_bytes_max })
    }

    /// Sends this request once. Any status is an answer, also if its body could not be read:
    /// [`Answer::whole`] is for callers who need the body. The request is borrowed, to be used again.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn attempt(&self, request: &Request) -> Result<Answer, Failure> {
        let unsendable = || Failure::new(FailureKind::Unsendable, "the body is a stream".to_owned());
        let request = request.try_clone().ok_or_else(unsendable)?;
        let response = self.client.execute(request).await.map_err(Failure::of_error)?;
        // Only for a `Retry-After` that is a date in an answer that does not say its own.
        #[expect(clippy::disallowed_methods, reason = "when an answer comes is part of it, and decides nothing else")]
        let received = SystemTime::now();
        Ok(Answer::read(response, received, self.answer_bytes_max).await)
    }
}

/// A POST of this JSON text.
#[must_use]
pub fn post_json(url: Url, body: impl Into<Body>) -> Request {
    let mut request = Request::new(Method::POST, url);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *request.body_mut() = Some(body.into());
    request
}
