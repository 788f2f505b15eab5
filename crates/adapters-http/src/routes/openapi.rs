use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::web::Bytes;
use utoipa::OpenApi;

use crate::openapi::finished;
use crate::openapi::problems::OfReading;
use crate::problem::{Problem, ProblemDocument};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "payment-callback",
        description = "The receiving end of payment notifications: payments-microservice reports, the portal registers \
                       and reads, operators look after what could not be applied.\n\n\
                       Times are RFC 3339 in UTC with milliseconds, amounts decimal strings with the currency's \
                       digits, absent values `null`. Ids in paths are percent-encoded, slashes too. No redirect is \
                       ever sent.",
    ),
    tags(
        (name = "callbacks", description = "What payments-microservice calls"),
        (name = "portal", description = "What the portal calls"),
        (name = "operators", description = "What operators call"),
        (name = "open", description = "Open to all"),
    ),
    components(schemas(ProblemDocument)),
    paths(
        super::webhook::receive,
        super::payments::register,
        super::payments::show,
        super::orders::show,
        super::orders::cancel,
        super::deliveries::list,
        super::deliveries::show,
        super::deliveries::replay,
        super::events::list,
        super::events::show,
        super::events::redeliver,
        super::events::redeliver_many,
        super::health::alive,
        super::health::ready,
        super::metrics::show,
        show,
        super::docs::page,
        super::docs::file,
    ),
)]
struct Interface;

/// Made once.
static DOCUMENT: LazyLock<Result<Bytes, serde_json::Error>> =
    LazyLock::new(|| serde_json::to_vec(&finished(Interface::openapi())?).map(Bytes::from));

/// `GET /api/openapi.json`
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    tag = "open",
    operation_id = "openapi",
    summary = "This description",
    responses((status = 200, description = "OpenAPI 3.1", body = Object), OfReading),
)]
pub(crate) async fn show() -> Result<HttpResponse, Problem> {
    let document = DOCUMENT.as_ref().map_err(|error| Problem::processing_error(error.to_string()))?;
    Ok(HttpResponse::Ok().content_type("application/json").body(document.clone()))
}
