//! The problems that each route can answer with, each described by an answer of its own kind.

use std::collections::BTreeMap;

use actix_web::http::header::{self, HeaderValue};
use domain::{Mismatch, RequestId};
use serde_json::json;
use utoipa::openapi::example::{Example, ExampleBuilder};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder};
use utoipa::openapi::{ContentBuilder, Header, Ref, RefOr, Response, Type};
use utoipa::{IntoResponses, ToSchema as _};

use super::examples;
use crate::paths::{GET, POST};
use crate::problem::{Problem, ProblemDocument};
use crate::vocabulary::{word, words};
use crate::wire::FieldError;

const BODY_BYTES_MAX: usize = 65_536;

/// Names what routes of these methods answer when all is not well.
macro_rules! problems {
    ($($(#[doc = $doc:literal])+ $Name:ident for $methods:ident $(: $($problems:expr),+)?;)*) => {$(
        $(#[doc = $doc])+
        pub(crate) enum $Name {}

        impl IntoResponses for $Name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                responses([Problem::method_not_allowed($methods)].into_iter()$($(.chain($problems))+)?)
            }
        }
    )*};
}

problems! {
    /// A callback.
    OfCallback for POST: of_body(), [
        Problem::payment_not_found(),
        Problem::contradiction(Mismatch::OrderMismatch),
        Problem::contradiction(Mismatch::AmountMismatch),
        Problem::contradiction(Mismatch::CurrencyMismatch),
    ], of_ledger();
    /// A registration.
    OfRegistration for POST: of_body(), [Problem::payment_conflict(), Problem::order_conflict()], of_ledger();
    /// Looking for something by its id.
    OfShowing for GET: [unauthorized(), Problem::not_found()], of_ledger();
    /// Cancelling an order.
    OfCancellation for POST: [unauthorized(), Problem::not_found(), Problem::order_paid()], of_ledger();
    /// A page of a list.
    OfListing for GET: [unauthorized(), bad_query("limit", "must be a whole number")], of_ledger();
    /// Applying a delivery again.
    OfReplay for POST: [
        unauthorized(),
        bad_query("dryRun", "must be true or false"),
        Problem::not_found(),
        Problem::not_replayable(),
    ], of_ledger();
    /// Sending an event again.
    OfRedelivery for POST: [unauthorized(), bad_query("query", "takes nothing"), Problem::not_found()], of_ledger();
    /// Sending all events again that match.
    OfRedeliveryOfMany for POST: [unauthorized(), bad_query("state", "must be one of the states")], of_ledger();
    /// Whether callbacks can be settled.
    OfReadiness for GET: of_ledger();
    /// What is always there.
    OfReading for GET;
    /// What is there under some names.
    OfFiles for GET: [Problem::not_found()];
}

/// Of every route that needs the ledger.
fn of_ledger() -> [Problem; 2] {
    [Problem::processing_error("not shown"), Problem::too_slow()]
}

/// Of every route that takes a key and a body.
fn of_body() -> [Problem; 4] {
    let missing = FieldError::new("status", "is missing");
    [
        unauthorized(),
        Problem::unsupported_media_type(),
        Problem::payload_too_large(BODY_BYTES_MAX),
        Problem::invalid_payload(vec![missing]),
    ]
}

fn unauthorized() -> Problem {
    Problem::unauthorized("one X-API-Key header is needed")
}

fn bad_query(parameter: &str, reason: &str) -> Problem {
    Problem::invalid_request(vec![FieldError::new(parameter, reason)])
}

/// One response for each status.
fn responses(problems: impl Iterator<Item = Problem>) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<String, Vec<Problem>> = BTreeMap::new();
    for problem in problems {
        by_status.entry(problem.kind.status().as_str().to_owned()).or_default().push(problem);
    }
    by_status.into_iter().map(|(status, problems)| (status, response(&problems).into())).collect()
}

fn response(problems: &[Problem]) -> Response {
    let details = problems.iter().map(|problem| format!("`{}`: {}", problem.kind.code(), problem.detail));
    let description = details.collect::<Vec<_>>().join("; ");
    let codes = words(problems.iter().map(|problem| problem.kind.code()));
    let schema = AllOfBuilder::new()
        .item(Ref::from_schema_name(ProblemDocument::name()))
        .item(ObjectBuilder::new().property("code", codes));
    let examples = problems.iter().map(|problem| (problem.kind.code(), example(problem)));
    let content = ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build();
    let response = ResponseBuilder::new().description(description).content("application/problem+json", content);
    problems
        .iter()
        .filter_map(header_of)
        .fold(response, |response, (name, header)| response.header(name, header))
        .build()
}

fn example(problem: &Problem) -> Example {
    let request_id = RequestId::parse(examples::REQUEST_ID);
    let problem = request_id.map_or_else(|| problem.clone(), |id| problem.clone().of_request(&id));
    ExampleBuilder::new().value(Some(json!(problem.document()))).build()
}

/// The header that belongs to the status, as the response has it.
fn header_of(problem: &Problem) -> Option<(&'static str, Header)> {
    let (name, value) = problem.header()?;
    let only = |value: &HeaderValue| word(value.to_str().unwrap_or_default());
    let (name, schema, description) = if name == header::RETRY_AFTER {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build();
        ("Retry-After", seconds, "After how many seconds to send it again, which is safe.")
    } else if name == header::ALLOW {
        ("Allow", only(&value), "The methods that this address takes.")
    } else {
        ("WWW-Authenticate", only(&value), "The header for the key.")
    };
    let mut header = Header::new(schema);
    header.description = Some(description.to_owned());
    Some((name, header))
}
