//! What went wrong, as RFC 9457 problem details.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use domain::{Mismatch, RequestId};
use ports::LedgerError;
use serde::Serialize;
use usecases::ReceiveError;
use utoipa::ToSchema;

use crate::openapi::vocabulary;
use crate::wire::FieldError;

/// Under which id the request is logged.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// When a caller that was turned away may try again, in seconds.
const RETRY_AFTER_S: u32 = 1;

/// What kind of problem it is; the words of the contract.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    title: &'static str,
}

impl Kind {
    const fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self { status, code, title }
    }
}

static METHOD_NOT_ALLOWED: Kind = Kind::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed");
static UNAUTHORIZED: Kind = Kind::new(StatusCode::UNAUTHORIZED, "unauthorized", "Not authenticated");
static UNSUPPORTED_MEDIA_TYPE: Kind =
    Kind::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Unsupported media type");
static PAYLOAD_TOO_LARGE: Kind = Kind::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "Payload too large");
static INVALID_PAYLOAD: Kind = Kind::new(StatusCode::BAD_REQUEST, "invalid_payload", "Invalid payload");
static INVALID_REQUEST: Kind = Kind::new(StatusCode::BAD_REQUEST, "invalid_request", "Invalid request");
static PAYMENT_NOT_FOUND: Kind = Kind::new(StatusCode::NOT_FOUND, "payment_not_found", "Payment not found");
static ORDER_MISMATCH: Kind = Kind::new(StatusCode::BAD_REQUEST, "order_mismatch", "Another order");
static AMOUNT_MISMATCH: Kind = Kind::new(StatusCode::BAD_REQUEST, "amount_mismatch", "Another amount");
static CURRENCY_MISMATCH: Kind = Kind::new(StatusCode::BAD_REQUEST, "currency_mismatch", "Another currency");
static NOT_FOUND: Kind = Kind::new(StatusCode::NOT_FOUND, "not_found", "Not found");
static PAYMENT_CONFLICT: Kind = Kind::new(StatusCode::CONFLICT, "payment_conflict", "Registered otherwise");
static ORDER_CONFLICT: Kind = Kind::new(StatusCode::CONFLICT, "order_conflict", "Order costs something else");
static ORDER_PAID: Kind = Kind::new(StatusCode::CONFLICT, "order_paid", "Order is paid");
static NOT_REPLAYABLE: Kind = Kind::new(StatusCode::CONFLICT, "not_replayable", "Not replayable");
static UNAVAILABLE: Kind = Kind::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable");
static PROCESSING_ERROR: Kind = Kind::new(StatusCode::INTERNAL_SERVER_ERROR, "processing_error", "Processing error");

/// An answer other than success. Becomes a response at one place, the middleware that knows the request's id.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) kind: &'static Kind,
    pub(crate) detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    allow: Option<&'static str>,
    /// What the caller need not know and the log must.
    pub(crate) cause: Option<Arc<dyn Error + Send + Sync>>,
    request_id: Option<RequestId>,
}

/// An answer other than success (RFC 9457).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub(crate) struct ProblemDocument<'a> {
    /// A name for this kind of problem; there is nothing to fetch.
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    /// What a program goes by.
    code: &'a str,
    #[schema(value_type = vocabulary::RequestId)]
    request_id: Option<&'a str>,
    /// Every bad field of the body, or every bad parameter of the query.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<FieldError>)]
    errors: &'a [FieldError],
    /// `true`: the notification is kept and applied when its payment is registered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    parked: bool,
}

impl Problem {
    fn new(kind: &'static Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), allow: None, cause: None, request_id: None }
    }

    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::new(&METHOD_NOT_ALLOWED, format!("this address takes {allow}")) }
    }

    pub(crate) fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(&UNAUTHORIZED, detail)
    }

    pub(crate) fn unsupported_media_type() -> Self {
        let detail = "the Content-Type must be application/json, and the Content-Encoding gzip, deflate or none";
        Self::new(&UNSUPPORTED_MEDIA_TYPE, detail)
    }

    pub(crate) fn payload_too_large(bytes_max: usize) -> Self {
        Self::new(&PAYLOAD_TOO_LARGE, format!("the body may have at most {bytes_max} bytes"))
    }

    pub(crate) fn incomplete_payload() -> Self {
        Self::new(&INVALID_PAYLOAD, "the body did not come whole, or its chunks are malformed")
    }

    pub(crate) fn invalid_payload(errors: Vec<FieldError>) -> Self {
        let detail = "the body is not what this address takes; errors lists every bad field";
        Self { errors, ..Self::new(&INVALID_PAYLOAD, detail) }
    }

    pub(crate) fn invalid_request(errors: Vec<FieldError>) -> Self {
        let detail = "the query is not what this address takes; errors lists every bad parameter";
        Self { errors, ..Self::new(&INVALID_REQUEST, detail) }
    }

    pub(crate) fn payment_not_found() -> Self {
        let detail = "no such payment is registered yet; the notification is kept and applied when it is";
        Self::new(&PAYMENT_NOT_FOUND, detail)
    }

    pub(crate) fn contradiction(mismatch: Mismatch) -> Self {
        match mismatch {
            Mismatch::OrderMismatch => Self::new(&ORDER_MISMATCH, "the payment is registered for another order"),
            Mismatch::AmountMismatch => Self::new(&AMOUNT_MISMATCH, "the payment is registered with another amount"),
            Mismatch::CurrencyMismatch => {
                Self::new(&CURRENCY_MISMATCH, "the payment is registered in another currency")
            }
        }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(&NOT_FOUND, "there is nothing at this address")
    }

    pub(crate) fn payment_conflict() -> Self {
        let detail = "the payment is registered with another order, amount, currency or method";
        Self::new(&PAYMENT_CONFLICT, detail)
    }

    pub(crate) fn order_conflict() -> Self {
        Self::new(&ORDER_CONFLICT, "the order has another amount or currency")
    }

    pub(crate) fn order_paid() -> Self {
        Self::new(&ORDER_PAID, "the order has been paid")
    }

    pub(crate) fn not_replayable() -> Self {
        Self::new(&NOT_REPLAYABLE, "a delivery that could not be understood cannot be applied")
    }

    pub(crate) fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(&UNAVAILABLE, detail)
    }

    pub(crate) fn too_slow() -> Self {
        Self::unavailable("the answer took too long; it is safe to send this again")
    }

    /// Anything that should not have happened.
    pub(crate) fn processing_error(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::caused(Arc::from(cause.into()))
    }

    fn caused(cause: Arc<dyn Error + Send + Sync>) -> Self {
        let detail = "the request could not be processed";
        Self { cause: Some(cause), ..Self::new(&PROCESSING_ERROR, detail) }
    }

    /// The problem as the answer to this request.
    pub(crate) fn of_request(self, request_id: &RequestId) -> Self {
        Self { request_id: Some(request_id.clone()), ..self }
    }

    /// What is wrong, as the log tells it: the bad fields where there are any.
    pub(crate) fn reason(&self) -> Cow<'_, str> {
        if self.errors.is_empty() { Cow::Borrowed(&self.detail) } else { Cow::Owned(FieldError::summary(&self.errors)) }
    }

    /// The same after its cause was logged.
    pub(crate) fn without_cause(self) -> Self {
        Self { cause: None, ..self }
    }

    /// What a response of this status has to say in its head.
    pub(crate) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self.kind.status {
            StatusCode::METHOD_NOT_ALLOWED => self.allow.map(|allow| (header::ALLOW, HeaderValue::from_static(allow))),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, RETRY_AFTER_S.into())),
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("X-API-Key"))),
            _ => None,
        }
    }

    /// The body of the response.
    pub(crate) fn document(&self) -> ProblemDocument<'_> {
        ProblemDocument {
            r#type: format!("urn:payment-callback:problem:{}", self.kind.code),
            title: self.kind.title,
            status: self.kind.status.as_u16(),
            detail: &self.detail,
            code: self.kind.code,
            request_id: self.request_id.as_ref().map(RequestId::as_str),
            errors: &self.errors,
            parked: std::ptr::eq(self.kind, &PAYMENT_NOT_FOUND),
        }
    }

    /// The problem that another error of the HTTP layer amounts to.
    pub(crate) fn from_error(error: &actix_web::Error) -> Self {
        if let Some(problem) = error.as_error::<Self>() {
            return problem.clone();
        }
        match error.as_response_error().status_code() {
            StatusCode::NOT_FOUND => Self::not_found(),
            status if status.is_client_error() => Self::new(&INVALID_REQUEST, "the request cannot be understood"),
            _ => Self::processing_error(error.to_string()),
        }
    }
}

impl From<Arc<LedgerError>> for Problem {
    fn from(error: Arc<LedgerError>) -> Self {
        match *error {
            LedgerError::Unavailable(_) | LedgerError::Hindered(_) | LedgerError::Held { .. } => {
                Self { cause: Some(error), ..Self::unavailable("the database is out of reach or too busy; try again") }
            }
            LedgerError::Outdated { pending } => {
                Self::unavailable(format!("the database has {pending} pending migrations"))
            }
            LedgerError::Newer { unknown } => {
                Self::unavailable(format!("the database is of a newer version: it has {unknown} unknown migrations"))
            }
            LedgerError::Corrupt { .. } | LedgerError::Refused(_) => Self::caused(error),
        }
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        Arc::new(error).into()
    }
}

impl From<ReceiveError> for Problem {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Full => Self::unavailable("too many callbacks are waiting to be settled; try again"),
            ReceiveError::Ledger(error) => error.into(),
            ReceiveError::Lost => Self::processing_error(error),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.kind.code, self.detail)
    }
}

impl Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.kind.status);
        response.content_type("application/problem+json");
        if let Some(header) = self.header() {
            response.insert_header(header);
        }
        if let Some(request_id) = &self.request_id {
            response.insert_header((X_REQUEST_ID, request_id.as_str()));
        }
        response.body(serde_json::to_vec(&self.document()).unwrap_or_default())
    }
}
