//! What surrounds every request: its id, its log, its deadline, and how problems become responses.

use std::error::Error;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, ResponseError as _, web};
use domain::{KeyName, RequestId};
use slog::{Logger, error, info, o, warn};
use usecases::Caller;
use uuid::Uuid;

use crate::problem::Problem;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One request's id and log.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) request_id: RequestId,
    pub(crate) log: Logger,
}

impl Context {
    /// The caller with this key, in this request.
    pub(crate) fn caller(&self, key_name: KeyName) -> Caller {
        Caller { key_name: Some(key_name), request_id: Some(self.request_id.clone()) }
    }
}

impl FromRequest for Context {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let context = request.extensions().get::<Self>().cloned();
        ready(context.ok_or_else(|| Problem::processing_error("no context")))
    }
}

/// How far the service is from having stopped.
#[derive(Debug, Default)]
pub struct Traffic {
    in_flight: AtomicUsize,
    draining: AtomicBool,
}

impl Traffic {
    /// How many requests are being answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// From now on every response asks its client to close the connection.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }
}

/// Counts a request until it is answered or given up.
struct InFlight(Arc<Traffic>);

impl InFlight {
    fn begin(traffic: Arc<Traffic>) -> Self {
        traffic.in_flight.fetch_add(1, Ordering::SeqCst);
        Self(traffic)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What the middleware needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) log: Logger,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) response_deadline: Duration,
}

/// Gives a request its id, its log and its deadline; makes problems responses; logs the answer.
pub(crate) async fn surround<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let started = Instant::now();
    let Some(surroundings) = request.app_data::<web::Data<Surroundings>>().cloned() else {
        return Err(Problem::processing_error("no surroundings").into());
    };
    let _in_flight = InFlight::begin(Arc::clone(&surroundings.traffic));
    let request_id = request_id(&request);
    let log = surroundings.log.new(o!("correlation_id" => request_id.as_str().to_owned()));
    let (method, route) = (request.method().clone(), request.match_pattern());
    request.extensions_mut().insert(Context { request_id: request_id.clone(), log: log.clone() });

    let answer = match tokio::time::timeout(surroundings.response_deadline, next.call(request)).await {
        Ok(Ok(response)) => match response.response().error().map(Problem::from_error) {
            None => Ok(response.map_into_left_body()),
            Some(problem) => Err((problem, Some(response.request().clone()))),
        },
        Ok(Err(error)) => Err((Problem::from_error(&error), None)),
        Err(_) => Err((Problem::unavailable("the answer took too long; it is safe to send this again"), None)),
    };
    let status = answer.as_ref().map_or_else(|(problem, _)| problem.kind.status, ServiceResponse::status);
    let (route, duration_ms) = (route.as_deref().unwrap_or("none"), started.elapsed().as_secs_f64() * 1000.0);
    let answered = o!(
        "method" => method.to_string(), "route" => route.to_owned(), "http_status" => status.as_u16(),
        "duration_ms" => duration_ms,
    );
    match &answer {
        Ok(_) => info!(log, "answered"; answered),
        Err((problem, _)) => log_problem(&log.new(answered), problem),
    }
    let mut response = match answer {
        Ok(response) => response,
        Err((problem, request)) => {
            let problem = Problem { request_id: Some(request_id.clone()), ..problem };
            match request {
                Some(request) => ServiceResponse::new(request, problem.error_response()).map_into_right_body(),
                // The request is gone with the handler; what answers it is the error itself.
                None => return Err(problem.into()),
            }
        }
    };
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    if surroundings.traffic.draining.load(Ordering::SeqCst) {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

/// A problem is logged once, here: what the service could not do as an error, what it refused as a warning.
fn log_problem(log: &Logger, problem: &Problem) {
    let error = problem.cause.as_deref().map(chain).unwrap_or_default();
    if problem.kind.status.is_server_error() {
        error!(log, "not processed"; "code" => problem.kind.code, "reason" => &*problem.detail, "error" => error);
    } else {
        warn!(log, "refused"; "code" => problem.kind.code, "reason" => &*problem.detail);
    }
}

/// An error with all its causes.
fn chain(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn request_id(request: &ServiceRequest) -> RequestId {
    let given = request.headers().get(X_REQUEST_ID).and_then(|value| RequestId::parse(value.to_str().ok()?));
    given.unwrap_or_else(|| Uuid::now_v7().into())
}
