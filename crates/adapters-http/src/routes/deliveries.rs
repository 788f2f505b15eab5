use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path};
use domain::DeliveryId;
use ports::History;
use usecases::{Blocking, ReplayError, UseCases};

use crate::authentication::{Authenticated, OperatorKeys};
use crate::documents::{DeliveriesDocument, DeliveryDocument, ReplayDocument};
use crate::openapi::problems::{OfListing, OfReplay, OfShowing};
use crate::problem::Problem;
use crate::vocabulary;
use crate::wire::{DeliveriesParameters, Page, ReplayParameters, read_deliveries_query, read_dry_run};

/// `GET /api/deliveries`
#[utoipa::path(
    get,
    path = "/api/deliveries",
    tag = "operators",
    operation_id = "deliveries",
    summary = "The audit trail, newest first",
    security(("operatorKey" = [])),
    params(DeliveriesParameters),
    responses((status = 200, description = "A page of it", body = DeliveriesDocument), OfListing),
)]
pub(crate) async fn list(
    request: HttpRequest,
    _: Authenticated<OperatorKeys>,
    history: Data<Blocking<dyn History>>,
) -> Result<Json<DeliveriesDocument>, Problem> {
    let Page { filter, limit } = read_deliveries_query(request.query_string()).map_err(Problem::invalid_request)?;
    let deliveries = history.run(move |history| history.deliveries(&filter)).await??;
    Ok(Json(DeliveriesDocument::page(deliveries, limit)))
}

/// `GET /api/deliveries/{id}`
#[utoipa::path(
    get,
    path = "/api/deliveries/{id}",
    tag = "operators",
    operation_id = "delivery",
    summary = "An audit entry",
    security(("operatorKey" = [])),
    params(("id" = vocabulary::DeliveryId, Path)),
    responses((status = 200, description = "The entry", body = DeliveryDocument), OfShowing),
)]
pub(crate) async fn show(
    id: Path<String>,
    _: Authenticated<OperatorKeys>,
    history: Data<Blocking<dyn History>>,
) -> Result<Json<DeliveryDocument>, Problem> {
    let id = DeliveryId::parse(&id).ok_or_else(Problem::not_found)?;
    let delivery = history.run(move |history| history.delivery(id)).await??;
    delivery.map(|delivery| Json(delivery.into())).ok_or_else(Problem::not_found)
}

/// `POST /api/deliveries/{id}/replay`
#[utoipa::path(
    post,
    path = "/api/deliveries/{id}/replay",
    tag = "operators",
    operation_id = "replay_delivery",
    summary = "Apply a stored delivery again",
    description = "It goes through the same rule and leaves an entry of its own. A payment that is still unknown: `parked`.",
    security(("operatorKey" = [])),
    params(("id" = vocabulary::DeliveryId, Path), ReplayParameters),
    responses((status = 200, description = "What came of it", body = ReplayDocument), OfReplay),
)]
pub(crate) async fn replay(
    request: HttpRequest,
    id: Path<String>,
    Authenticated { caller, .. }: Authenticated<OperatorKeys>,
    use_cases: Data<Blocking<UseCases>>,
) -> Result<Json<ReplayDocument>, Problem> {
    let dry_run = read_dry_run(request.query_string()).map_err(Problem::invalid_request)?;
    let id = DeliveryId::parse(&id).ok_or_else(Problem::not_found)?;
    let replay = use_cases.run(move |use_cases| use_cases.replay_delivery(id, dry_run, &caller)).await?;
    let replay = replay.map_err(|error| match error {
        ReplayError::NotFound => Problem::not_found(),
        ReplayError::NotReplayable => Problem::not_replayable(),
        ReplayError::Ledger(error) => error.into(),
    })?;
    Ok(Json(replay.try_into()?))
}
