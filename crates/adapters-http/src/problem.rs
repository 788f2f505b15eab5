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
use strum::IntoStaticStr;
use usecases::{Interrupted, Observed, ReceiveError};
use utoipa::ToSchema;

use crate::vocabulary;
use crate::wire::FieldError;

/// Under which id the request is logged.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// When a caller that was turned away may try again, in seconds.
const RETRY_AFTER_S: u32 = 1;

/// What kind of problem it is; the words of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Kind {
    MethodNotAllowed,
    Unauthorized,
    UnsupportedMediaType,
    PayloadTooLarge,
    InvalidPayload,
    InvalidRequest,
    PaymentNotFound,
    OrderMismatch,
    AmountMismatch,
    CurrencyMismatch,
    NotFound,
    PaymentConflict,
    OrderConflict,
    OrderPaid,
    NotReplayable,
    Unavailable,
    ProcessingError,
}

impl Kind {
    /// What a program goes by.
    pub(crate) fn code(self) -> &'static str {
        self.into()
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::InvalidPayload
            | Self::InvalidRequest
            | Self::OrderMismatch
            | Self::AmountMismatch
            | Self::CurrencyMismatch => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::PaymentNotFound | Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::PaymentConflict | Self::OrderConflict | Self::OrderPaid | Self::NotReplayable => StatusCode::CONFLICT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::ProcessingError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "Method not allowed",
            Self::Unauthorized => "Not authenticated",
            Self::UnsupportedMediaType => "Unsupported media type",
            Self::PayloadTooLarge => "Payload too large",
            Self::InvalidPayload => "Invalid payload",
            Self::InvalidRequest => "Invalid request",
            Self::PaymentNotFound => "Payment not found",
            Self::OrderMismatch => "Another order",
            Self::AmountMismatch => "Another amount",
            Self::CurrencyMismatch => "Another currency",
            Self::NotFound => "Not found",
            Self::PaymentConflict => "Registered otherwise",
            Self::OrderConflict => "Order costs something else",
            Self::OrderPaid => "Order is paid",
            Self::NotReplayable => "Not replayable",
            Self::Unavailable => "Unavailable",
            Self::ProcessingError => "Processing error",
        }
    }
}

/// An answer other than success. Becomes a response at one place, the middleware that knows the request's id.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
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
    fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), allow: None, cause: None, request_id: None }
    }

    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::new(Kind::MethodNotAllowed, format!("this address takes {allow}")) }
    }

    pub(crate) fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unauthorized, detail)
    }

    pub(crate) fn unsupported_media_type() -> Self {
        let detail = "the Content-Type must be application/json, and the Content-Encoding gzip, deflate or none";
        Self::new(Kind::UnsupportedMediaType, detail)
    }

    pub(crate) fn payload_too_large(bytes_max: usize) -> Self {
        Self::new(Kind::PayloadTooLarge, format!("the body may have at most {bytes_max} bytes"))
    }

    pub(crate) fn incomplete_payload() -> Self {
        Self::new(Kind::InvalidPayload, "the body did not come whole, or its chunks are malformed")
    }

    pub(crate) fn invalid_payload(errors: Vec<FieldError>) -> Self {
        let detail = "the body is not what this address takes; errors lists every bad field";
        Self { errors, ..Self::new(Kind::InvalidPayload, detail) }
    }

    pub(crate) fn invalid_request(errors: Vec<FieldError>) -> Self {
        let detail = "the query is not what this address takes; errors lists every bad parameter";
        Self { errors, ..Self::new(Kind::InvalidRequest, detail) }
    }

    pub(crate) fn payment_not_found() -> Self {
        let detail = "no such payment is registered yet; the notification is kept and applied when it is";
        Self::new(Kind::PaymentNotFound, detail)
    }

    pub(crate) fn contradiction(mismatch: Mismatch) -> Self {
        match mismatch {
            Mismatch::OrderMismatch => Self::new(Kind::OrderMismatch, "the payment is registered for another order"),
            Mismatch::AmountMismatch => {
                Self::new(Kind::AmountMismatch, "the payment is registered with another amount")
            }
            Mismatch::CurrencyMismatch => {
                Self::new(Kind::CurrencyMismatch, "the payment is registered in another currency")
            }
        }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(Kind::NotFound, "there is nothing at this address")
    }

    pub(crate) fn payment_conflict() -> Self {
        let detail = "the payment is registered with another order, amount, currency or method";
        Self::new(Kind::PaymentConflict, detail)
    }

    pub(crate) fn order_conflict() -> Self {
        Self::new(Kind::OrderConflict, "the order has another amount or currency")
    }

    pub(crate) fn order_paid() -> Self {
        Self::new(Kind::OrderPaid, "the order has been paid")
    }

    pub(crate) fn not_replayable() -> Self {
        Self::new(Kind::NotReplayable, "a delivery that could not be understood cannot be applied")
    }

    pub(crate) fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unavailable, detail)
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
        Self { cause: Some(cause), ..Self::new(Kind::ProcessingError, detail) }
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
    fn without_cause(self) -> Self {
        Self { cause: None, ..self }
    }

    /// What a response of this status has to say in its head.
    pub(crate) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self.kind.status() {
            StatusCode::METHOD_NOT_ALLOWED => self.allow.map(|allow| (header::ALLOW, HeaderValue::from_static(allow))),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, RETRY_AFTER_S.into())),
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("X-API-Key"))),
            _ => None,
        }
    }

    /// The body of the response.
    pub(crate) fn document(&self) -> ProblemDocument<'_> {
        ProblemDocument {
            r#type: format!("urn:payment-callback:problem:{}", self.kind.code()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            code: self.kind.code(),
            request_id: self.request_id.as_ref().map(RequestId::as_str),
            errors: &self.errors,
            parked: self.kind == Kind::PaymentNotFound,
        }
    }

    /// The problem that another error of the HTTP layer amounts to.
    pub(crate) fn from_error(error: &actix_web::Error) -> Self {
        if let Some(problem) = error.as_error::<Self>() {
            return problem.clone();
        }
        match error.as_response_error().status_code() {
            StatusCode::NOT_FOUND => Self::not_found(),
            status if status.is_client_error() => Self::new(Kind::InvalidRequest, "the request cannot be understood"),
            _ => Self::processing_error(error.to_string()),
        }
    }
}

impl From<Arc<LedgerError>> for Problem {
    fn from(error: Arc<LedgerError>) -> Self {
        match *error {
            LedgerError::Unavailable(_) | LedgerError::Contended(_) | LedgerError::Held { .. } => {
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

impl From<Interrupted> for Problem {
    fn from(error: Interrupted) -> Self {
        Self::processing_error(error)
    }
}

/// The log has the cause already.
impl<E: Error + Into<Self>> From<Observed<E>> for Problem {
    fn from(Observed(error): Observed<E>) -> Self {
        error.into().without_cause()
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
        write!(formatter, "{}: {}", self.kind.code(), self.detail)
    }
}

impl Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.kind.status());
        response.content_type("application/problem+json");
        if let Some(header) = self.header() {
            response.insert_header(header);
        }
        response.body(serde_json::to_vec(&self.document()).unwrap_or_default())
    }
}
