use std::time::Instant;

use actix_web::web::{Data, Json, Path};
use domain::{Cancellation, OrderId};
use usecases::cancel_order;

use crate::authentication::{Authenticated, PortalKeys};
use crate::context::Context;
use crate::desk::Desk;
use crate::documents::OrderHistoryDocument;
use crate::openapi::problems::{OfCancellation, OfShowing};
use crate::openapi::vocabulary;
use crate::problem::Problem;

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
    desk: Data<Desk>,
) -> Result<Json<OrderHistoryDocument>, Problem> {
    let id = OrderId::parse(&id).map_err(|_| Problem::not_found())?;
    let history = desk.ask(move |ledger, _| ledger.order(&id)).await??;
    history.map(|history| Json(history.into())).ok_or_else(Problem::not_found)
}

/// `POST /api/orders/{orderId}/cancel`
#[utoipa::path(
    post,
    path = "/api/orders/{id}/cancel",
    tag = "portal",
    operation_id = "cancel_order",
    summary = "Cancel an order that nobody has paid",
    description = "Safe to repeat. Money that arrives all the same is recorded and pays nothing.",
    security(("portalKey" = [])),
    params(("id" = vocabulary::OrderId, Path)),
    responses((status = 200, description = "The order is cancelled", body = OrderHistoryDocument), OfCancellation),
)]
pub(crate) async fn cancel(
    id: Path<String>,
    context: Context,
    Authenticated { caller, .. }: Authenticated<PortalKeys>,
    desk: Data<Desk>,
) -> Result<Json<OrderHistoryDocument>, Problem> {
    let id = OrderId::parse(&id).map_err(|_| Problem::not_found())?;
    let (cancellation, history) = desk
        .ask(move |ledger, clock| {
            let begun = Instant::now();
            let cancellation = cancel_order(ledger, clock, &id)
                .map_err(|error| context.journal.failed(None, Some(&id), error.into(), begun.elapsed()))?;
            context.journal.cancelled(&id, &caller, cancellation, begun.elapsed());
            Ok::<_, Problem>((cancellation, ledger.order(&id)?))
        })
        .await??;
    match (cancellation, history) {
        (Cancellation::Cancelled, Some(history)) => Ok(Json(history.into())),
        (Cancellation::Paid, _) => Err(Problem::order_paid()),
        (Cancellation::Unknown, _) | (_, None) => Err(Problem::not_found()),
    }
}
