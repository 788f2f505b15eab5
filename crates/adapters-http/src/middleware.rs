//! What surrounds every request: its id, its log, its deadline, and how problems become responses.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Payload, ResponseHead, ServiceRequest, ServiceResponse, Url};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode, Uri};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError as _, web};
use domain::{KeyName, RequestId};
use slog::Logger;
use usecases::Caller;
use uuid::Uuid;

use crate::connections::ConnectionState;
use crate::metrics::Metrics;
use crate::problem::{Problem, X_REQUEST_ID};
use crate::request_log::{Answer, NO_ROUTE, RequestLog};

/// One request's id and log.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) request_id: RequestId,
    pub(crate) log: RequestLog,
}

impl Context {
    /// That of this request.
    pub(crate) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        request.extensions().get::<Self>().cloned().ok_or_else(|| Problem::processing_error("no context"))
    }

    /// The caller with this key, in this request.
    pub(crate) fn caller(&self, key_name: KeyName) -> Caller {
        Caller { key_name: Some(key_name), request_id: Some(self.request_id.clone()) }
    }
}

impl FromRequest for Context {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

/// A request that has no answer yet. If it never gets one, its caller has gone, and that is noted instead.
struct Unanswered {
    log: RequestLog,
    route: String,
    method: Method,
    started: Instant,
    noted: bool,
}

impl Unanswered {
    fn new(request: &ServiceRequest, log: RequestLog, started: Instant) -> Self {
        let route = request.match_pattern().unwrap_or_else(|| NO_ROUTE.to_owned());
        Self { log, route, method: request.method().clone(), started, noted: false }
    }

    /// This is the answer.
    fn note(mut self, status: StatusCode, problem: Option<&Problem>) {
        let (route, method, took) = (&*self.route, &self.method, self.started.elapsed());
        self.log.answered(&Answer { route, method, status, problem, took });
        self.noted = true;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if !self.noted {
            self.log.not_answered(&self.route, &self.method, self.started.elapsed());
        }
    }
}

/// What the middleware needs to know.
#[derive(Clone)]
pub(crate) struct MiddlewareState {
    pub(crate) log: Logger,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) response_deadline: Duration,
}

/// Gives a request its id, its log and its deadline; makes problems responses; notes the answer.
pub(crate) async fn middleware<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let started = Instant::now();
    if let Some(uri) = without_extra_slashes(request.uri()) {
        request.match_info_mut().set(Url::new(uri.clone()));
        request.head_mut().uri = uri;
    }
    let state = request.app_data::<web::Data<MiddlewareState>>().cloned();
    let state = state.ok_or_else(|| Problem::processing_error("the server is not set up"))?;
    let connection = request.conn_data::<Arc<ConnectionState>>().cloned();
    let connection = connection.ok_or_else(|| Problem::processing_error("the connection is not known"))?;
    let request_id = request_id(&request);
    // actix-http makes of such a request a connection that carries no other one.
    let upgrade = request.head().upgrade() || request.headers().contains_key(header::UPGRADE);
    let log = RequestLog::new(&state.log, Arc::clone(&state.metrics), &request_id);
    let unanswered = Unanswered::new(&request, log.clone(), started);
    request.extensions_mut().insert(connection.begin_request());
    request.extensions_mut().insert(Context { request_id: request_id.clone(), log });

    let answered = tokio::time::timeout(state.response_deadline, next.call(request)).await;
    let answered = answered.unwrap_or_else(|_| Err(Problem::too_slow().into()));
    let finish = |head: &mut ResponseHead| {
        add_headers(head.headers_mut(), &request_id);
        if upgrade || connection.ends() {
            head.set_connection_type(ConnectionType::Close);
        }
    };
    match answered {
        Ok(response) => match response.response().error().map(Problem::from_error) {
            None => {
                unanswered.note(response.status(), None);
                let mut response = response.map_into_left_body();
                finish(response.response_mut().head_mut());
                Ok(response)
            }
            Some(problem) => {
                let mut answer = refusal(problem, &request_id, unanswered);
                finish(answer.head_mut());
                let (request, _) = response.into_parts();
                Ok(ServiceResponse::new(request, answer).map_into_right_body())
            }
        },
        Err(error) => {
            let mut answer = refusal(Problem::from_error(&error), &request_id, unanswered);
            finish(answer.head_mut());
            // The request is gone with its handler, so that the answer must be an error.
            Err(InternalError::from_response(error, answer).into())
        }
    }
}

/// The problem as the answer to this request.
fn refusal(problem: Problem, request_id: &RequestId, unanswered: Unanswered) -> HttpResponse {
    let problem = problem.of_request(request_id);
    unanswered.note(problem.kind.status(), Some(&problem));
    problem.error_response()
}

/// What every answer bears. None may be kept by a cache, unless it says so itself, or be taken for something else
/// than it is.
fn add_headers(headers: &mut HeaderMap, request_id: &RequestId) {
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        headers.insert(X_REQUEST_ID, value);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// The same address if it has repeated slashes or one at its end, as senders make it of a base URL that ends in one.
/// (actix-web's `NormalizePath` runs a regular expression over every address, which takes 2 µs.)
fn without_extra_slashes(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if path == "/" || !(path.ends_with('/') || path.contains("//")) {
        return None;
    }
    let mut plain = String::with_capacity(uri.path_and_query()?.as_str().len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        plain.push('/');
        plain.push_str(segment);
    }
    if let Some(query) = uri.query() {
        plain.push('?');
        plain.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(plain.parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn request_id(request: &ServiceRequest) -> RequestId {
    let given = request.headers().get(X_REQUEST_ID).and_then(|value| RequestId::parse(value.to_str().ok()?));
    given.unwrap_or_else(new_request_id)
}

#[expect(clippy::disallowed_methods, reason = "a request's id only has to be new; nothing is decided by its time")]
fn new_request_id() -> RequestId {
    Uuid::now_v7().into()
}
