use actix_web::web::{Data, Json, Path};
use domain::{Cancellation, OrderId};
use ports::History;
use usecases::{Blocking, UseCases};

use crate::authentication::{Authenticated, PortalKeys};
use crate::documents::OrderHistoryDocument;
use crate::openapi::problems::{OfCancellation, OfShowing};
use crate::problem::Problem;
use crate::vocabulary;

/// `GET /api/orders/{orderId}`
#[utoipa::path(
    get,
    path = "/api/orders/{id}",
    tag = "portal",
    operation_id = "order",
    summary = "An order with its payments",
    security(("portalKey" = [])),
    params(("id" = vocabulary::OrderId, Path)),
    responses((status = 200, description = "The order", body = OrderHistoryDocument), OfShowing),
)]
pub(crate) async fn show(
    id: Path<String>,
    _: Authenticated<PortalKeys>,
    history: Data<Blocking<dyn History>>,
) -> Result<Json<OrderHistoryDocument>, Problem> {
    let id = OrderId::parse(&id).map_err(|_| Problem::not_found())?;
    let history = history.run(move |history| history.order(&id)).await??;
    history.map(|history| Json(history.into())).ok_or_else(Problem::not_found)
}

/// `POST /api/orders/{orderId}/cancel`
#[utoipa::path(
    post,
    path = "/api/orders/{id}/cancel",
    tag = "portal",
    operation_id = "cancel_order",
    summary = "Cancel an order that is not paid",
    description = "Safe to repeat. Money that arrives all the same is recorded and pays nothing.",
    security(("portalKey" = [])),
    params(("id" = vocabulary::OrderId, Path)),
    responses((status = 200, description = "The order is cancelled", body = OrderHistoryDocument), OfCancellation),
)]
pub(crate) async fn cancel(
    id: Path<String>,
    Authenticated { caller, .. }: Authenticated<PortalKeys>,
    use_cases: Data<Blocking<UseCases>>,
) -> Result<Json<OrderHistoryDocument>, Problem> {
    let id = OrderId::parse(&id).map_err(|_| Problem::not_found())?;
    let cancelled = use_cases.run(move |use_cases| use_cases.cancel_order(&id, &caller)).await??;
    match (cancelled.outcome, cancelled.afterwards?) {
        (Cancellation::Cancelled, Some(history)) => Ok(Json(history.into())),
        (Cancellation::Paid, _) => Err(Problem::order_paid()),
        (Cancellation::Unknown, _) | (_, None) => Err(Problem::not_found()),
    }
}
