use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path};
use domain::DeliveryId;
use usecases::{ReplayError, replay_delivery};

use crate::authentication::{Authenticated, OperatorKeys};
use crate::context::Context;
use crate::desk::Desk;
use crate::documents::{DeliveriesDocument, DeliveryDocument, ReplayDocument};
use crate::openapi::problems::{OfListing, OfReplay, OfShowing};
use crate::openapi::vocabulary;
use crate::problem::Problem;
use crate::wire::{DeliveriesParameters, DeliveriesQuery, ReplayParameters, read_deliveries_query, read_dry_run};

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
    desk: Data<Desk>,
) -> Result<Json<DeliveriesDocument>, Problem> {
    let DeliveriesQuery { filter, limit } =
        read_deliveries_query(request.query_string()).map_err(Problem::invalid_request)?;
    let deliveries = desk.ask(move |ledger, _| ledger.deliveries(&filter)).await??;
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
    desk: Data<Desk>,
) -> Result<Json<DeliveryDocument>, Problem> {
    let id = DeliveryId::parse(&id).ok_or_else(Problem::not_found)?;
    let delivery = desk.ask(move |ledger, _| ledger.delivery(id)).await??;
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
    context: Context,
    Authenticated { caller, .. }: Authenticated<OperatorKeys>,
    desk: Data<Desk>,
) -> Result<Json<ReplayDocument>, Problem> {
    let dry_run = read_dry_run(request.query_string()).map_err(Problem::invalid_request)?;
    let id = DeliveryId::parse(&id).ok_or_else(Problem::not_found)?;
    let replay = desk
        .ask(move |ledger, clock| {
            let begun = Instant::now();
            let replay = replay_delivery(ledger, clock, id, dry_run, &caller).map_err(|error| match error {
                ReplayError::NotFound => Problem::not_found(),
                ReplayError::NotReplayable => Problem::not_replayable(),
                ReplayError::Ledger(error) => context.journal.failed(None, None, error.into(), begun.elapsed()),
            })?;
            context.journal.replayed(id, &replay, &caller, begun.elapsed());
            Ok::<_, Problem>(replay.try_into()?)
        })
        .await??;
    Ok(Json(replay))
}
