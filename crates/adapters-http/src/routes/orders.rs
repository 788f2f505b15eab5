use std::time::Instant;

use actix_web::web::{Data, Json, Path};
use domain::{Cancellation, OrderId};
use usecases::cancel_order;

use crate::authentication::{Authenticated, PortalKeys};
use crate::context::Context;
use crate::desk::Desk;
use crate::documents::OrderHistoryDocument;
use crate::problem::Problem;

/// `GET /api/orders/{orderId}`
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
            let cancellation = cancel_order(ledger, clock, &id)?;
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
