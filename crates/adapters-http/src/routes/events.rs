use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path};
use domain::EventId;
use ports::{EventHistory, History};
use usecases::{Blocking, UseCases};

use crate::authentication::{Authenticated, OperatorKeys};
use crate::documents::{EventDocument, EventHistoryDocument, EventsDocument, RedeliveredDocument};
use crate::openapi::problems::{OfListing, OfRedelivery, OfRedeliveryOfMany, OfShowing};
use crate::problem::Problem;
use crate::vocabulary;
use crate::wire::{
    EventsParameters, Page, RedeliveryParameters, RedeliveryQuery, read_events_query, read_no_query,
    read_redelivery_query,
};

/// `GET /api/events`
#[utoipa::path(
    get,
    path = "/api/events",
    tag = "operators",
    operation_id = "events",
    summary = "What the portal was or will be told, newest first",
    security(("operatorKey" = [])),
    params(EventsParameters),
    responses((status = 200, description = "A page of it", body = EventsDocument), OfListing),
)]
pub(crate) async fn list(
    request: HttpRequest,
    _: Authenticated<OperatorKeys>,
    history: Data<Blocking<dyn History>>,
) -> Result<Json<EventsDocument>, Problem> {
    let Page { filter, limit } = read_events_query(request.query_string()).map_err(Problem::invalid_request)?;
    let events = history.run(move |history| history.events(&filter)).await??;
    Ok(Json(EventsDocument::page(events, limit)))
}

/// `GET /api/events/{id}`
#[utoipa::path(
    get,
    path = "/api/events/{id}",
    tag = "operators",
    operation_id = "event",
    summary = "An event with the attempts to deliver it",
    security(("operatorKey" = [])),
    params(("id" = vocabulary::EventId, Path)),
    responses((status = 200, description = "The event", body = EventHistoryDocument), OfShowing),
)]
pub(crate) async fn show(
    id: Path<String>,
    _: Authenticated<OperatorKeys>,
    history: Data<Blocking<dyn History>>,
) -> Result<Json<EventHistoryDocument>, Problem> {
    let id = EventId::parse(&id).ok_or_else(Problem::not_found)?;
    Ok(Json(find(id, &history).await?.into()))
}

/// `POST /api/events/{id}/redeliver`
#[utoipa::path(
    post,
    path = "/api/events/{id}/redeliver",
    tag = "operators",
    operation_id = "redeliver_event",
    summary = "Make an event due now, whatever its state",
    description = "Safe to repeat: the portal recognises the event by its id.",
    security(("operatorKey" = [])),
    params(("id" = vocabulary::EventId, Path)),
    responses((status = 200, description = "The event, which is due", body = EventDocument), OfRedelivery),
)]
pub(crate) async fn redeliver(
    request: HttpRequest,
    id: Path<String>,
    Authenticated { caller, .. }: Authenticated<OperatorKeys>,
    use_cases: Data<Blocking<UseCases>>,
    history: Data<Blocking<dyn History>>,
) -> Result<Json<EventDocument>, Problem> {
    read_no_query(request.query_string()).map_err(Problem::invalid_request)?;
    let id = EventId::parse(&id).ok_or_else(Problem::not_found)?;
    if !use_cases.run(move |use_cases| use_cases.redeliver_event(id, &caller)).await?? {
        return Err(Problem::not_found());
    }
    Ok(Json(find(id, &history).await?.status.into()))
}

/// `POST /api/events/redeliver`
#[utoipa::path(
    post,
    path = "/api/events/redeliver",
    tag = "operators",
    operation_id = "redeliver_events",
    summary = "Make all events due now that match",
    description = "The oldest 10,000 of them. Without a filter all events match, delivered ones as well.",
    security(("operatorKey" = [])),
    params(RedeliveryParameters),
    responses((status = 200, description = "How many there were", body = RedeliveredDocument), OfRedeliveryOfMany),
)]
pub(crate) async fn redeliver_many(
    request: HttpRequest,
    Authenticated { caller, .. }: Authenticated<OperatorKeys>,
    use_cases: Data<Blocking<UseCases>>,
) -> Result<Json<RedeliveredDocument>, Problem> {
    let RedeliveryQuery { filter, dry_run } =
        read_redelivery_query(request.query_string()).map_err(Problem::invalid_request)?;
    let redelivered = use_cases.run(move |use_cases| use_cases.redeliver_events(filter, dry_run, &caller)).await??;
    Ok(Json(redelivered.into()))
}

async fn find(id: EventId, history: &Blocking<dyn History>) -> Result<EventHistory, Problem> {
    history.run(move |history| history.event(id)).await??.ok_or_else(Problem::not_found)
}
