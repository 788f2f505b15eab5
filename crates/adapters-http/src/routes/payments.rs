use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use domain::{PaymentId, RegistrationOutcome};
use usecases::register_payment;

use crate::authentication::PortalKeys;
use crate::body::{BodyBytesMax, read_body, require_json};
use crate::context::Context;
use crate::desk::Desk;
use crate::documents::{PaymentHistoryDocument, RegistrationDocument};
use crate::logging::log_registration;
use crate::problem::Problem;
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
    let (registered, stored) = desk
        .ask(move |ledger, clock| {
            let registered = register_payment(ledger, clock, &registration, &caller)?;
            // Here, for what has happened is logged whether or not somebody still waits for the answer.
            log_registration(&context.log, &registration, &registered);
            Ok::<_, Problem>((registered, ledger.payment_and_order(&registration.payment_id)?))
        })
        .await??;
    let mut response = match registered.outcome {
        RegistrationOutcome::Registered => HttpResponse::Created(),
        RegistrationOutcome::Exists => HttpResponse::Ok(),
        RegistrationOutcome::PaymentConflict => return Err(Problem::payment_conflict()),
        RegistrationOutcome::OrderConflict => return Err(Problem::order_conflict()),
    };
    let (payment, order) = stored.ok_or_else(Problem::not_found)?;
    Ok(response.json(RegistrationDocument::new(registered, payment, order)))
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
