use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use domain::{PaymentId, RegistrationOutcome};
use slog::info;
use usecases::register_payment;

use crate::body::{read_body, require_json};
use crate::context::Context;
use crate::desk::Desk;
use crate::documents::{PaymentHistoryDocument, RegistrationDocument};
use crate::logging::log_settlement;
use crate::problem::Problem;
use crate::server::{BodyBytesMax, PortalKeys};
use crate::wire::read_registration;

/// `POST /api/payments`, and the path that the real client uses.
pub(crate) async fn register(
    request: HttpRequest,
    payload: Payload,
    context: Context,
    keys: Data<PortalKeys>,
    bytes_max: Data<BodyBytesMax>,
    desk: Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let caller = context.caller(keys.0.authenticate(request.headers())?);
    require_json(request.headers())?;
    let body = read_body(request.headers(), payload, bytes_max.0).await?;
    let registration = read_registration(&body).map_err(Problem::invalid_payload)?;
    let (payment_id, order_id) = (registration.payment_id.to_string(), registration.order_id.to_string());
    let (registered, history) = desk
        .ask(move |ledger, clock| {
            let registered = register_payment(ledger, clock, &registration, &caller)?;
            Ok::<_, Problem>((registered, ledger.payment(&registration.payment_id)?))
        })
        .await??;
    info!(context.log, "registration"; "payment_id" => payment_id, "order_id" => order_id,
        "outcome" => format!("{:?}", registered.outcome));
    for settlement in &registered.applied {
        log_settlement(&context.log, settlement);
    }
    let (mut response, status) = match registered.outcome {
        RegistrationOutcome::Registered => (HttpResponse::Created(), "registered"),
        RegistrationOutcome::Exists => (HttpResponse::Ok(), "exists"),
        RegistrationOutcome::PaymentConflict => return Err(Problem::payment_conflict()),
        RegistrationOutcome::OrderConflict => return Err(Problem::order_conflict()),
    };
    let history = history.ok_or_else(Problem::not_found)?;
    Ok(response.json(RegistrationDocument::new(status, &registered.applied, history)))
}

/// `GET /api/payments/{externalPaymentId}`
pub(crate) async fn show(
    request: HttpRequest,
    id: Path<String>,
    keys: Data<PortalKeys>,
    desk: Data<Desk>,
) -> Result<Json<PaymentHistoryDocument>, Problem> {
    keys.0.authenticate(request.headers())?;
    let id = PaymentId::parse(&id).map_err(|_| Problem::not_found())?;
    let history = desk.ask(move |ledger, _| ledger.payment(&id)).await??;
    history.map(|history| Json(history.into())).ok_or_else(Problem::not_found)
}
