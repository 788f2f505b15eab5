use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path};
use domain::{Cancellation, OrderId};
use slog::info;
use usecases::cancel_order;

use crate::authentication::PortalKeys;
use crate::context::Context;
use crate::desk::Desk;
use crate::documents::OrderHistoryDocument;
use crate::problem::Problem;

/// `GET /api/orders/{orderId}`
pub(crate) async fn show(
    request: HttpRequest,
    id: Path<String>,
    keys: Data<PortalKeys>,
    desk: Data<Desk>,
) -> Result<Json<OrderHistoryDocument>, Problem> {
    keys.0.authenticate(request.headers())?;
    let id = OrderId::parse(&id).map_err(|_| Problem::not_found())?;
    let history = desk.ask(move |ledger, _| ledger.order(&id)).await??;
    history.map(|history| Json(history.into())).ok_or_else(Problem::not_found)
}

/// `POST /api/orders/{orderId}/cancel`
pub(crate) async fn cancel(
    request: HttpRequest,
    id: Path<String>,
    context: Context,
    keys: Data<PortalKeys>,
    desk: Data<Desk>,
) -> Result<Json<OrderHistoryDocument>, Problem> {
    let key_name = keys.0.authenticate(request.headers())?;
    let id = OrderId::parse(&id).map_err(|_| Problem::not_found())?;
    let (cancellation, history) = desk
        .ask(move |ledger, clock| {
            let cancellation = cancel_order(ledger, clock, &id)?;
            info!(context.log, "cancellation"; "order_id" => id.as_str(), "key_name" => key_name.as_str(),
                "outcome" => <&str>::from(cancellation));
            Ok::<_, Problem>((cancellation, ledger.order(&id)?))
        })
        .await??;
    match (cancellation, history) {
        (Cancellation::Cancelled, Some(history)) => Ok(Json(history.into())),
        (Cancellation::Paid, _) => Err(Problem::order_paid()),
        (Cancellation::Unknown, _) | (_, None) => Err(Problem::not_found()),
    }
}
