use std::time::Instant;

use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use domain::{PaymentId, Registration, RegistrationOutcome};
use usecases::register_payment;

use crate::authentication::{Authenticated, PortalKeys};
use crate::body::{BodyBytesMax, read_body, require_json};
use crate::context::Context;
use crate::desk::Desk;
use crate::documents::{PaymentHistoryDocument, RegistrationDocument};
use crate::openapi::problems::{OfRegistration, OfShowing};
use crate::openapi::vocabulary;
use crate::problem::Problem;
use crate::wire::{RegistrationBody, read_registration};

/// `POST /api/payments`, and the path that the real client uses.
#[utoipa::path(
    post,
    path = "/api/payments",
    tag = "portal",
    operation_id = "register_payment",
    summary = "Register an expected payment",
    description = "Safe to repeat. Notifications that came before are applied. The first payment of an order sets the \
                   order's amount and currency.",
    security(("portalKey" = [])),
    request_body = RegistrationBody,
    responses(
        (status = 201, description = "It is now expected", body = RegistrationDocument),
        (status = 200, description = "It was registered with the same words before", body = RegistrationDocument),
        OfRegistration,
    ),
)]
pub(crate) async fn register(
    request: HttpRequest,
    payload: Payload,
    context: Context,
    Authenticated { caller, .. }: Authenticated<PortalKeys>,
    bytes_max: Data<BodyBytesMax>,
    desk: Data<Desk>,
) -> Result<HttpResponse, Problem> {
    require_json(request.headers())?;
    let body = read_body(request.headers(), payload, bytes_max.0).await?;
    let content = body.content.map_err(|error| vec![error]);
    let registration = content.and_then(|content| read_registration(&content)).map_err(Problem::invalid_payload)?;
    let (registered, stored) = desk
        .ask(move |ledger, clock| {
            let begun = Instant::now();
            let registered = register_payment(ledger, clock, &registration, &caller).map_err(|error| {
                let Registration { payment_id, order_id, .. } = &registration;
                context.journal.failed(Some(payment_id), Some(order_id), error.into(), begun.elapsed())
            })?;
            // Here, for what has happened is noted whether or not somebody still waits for the answer.
            context.journal.registered(&registration, &registered, &caller, begun.elapsed());
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
#[utoipa::path(
    get,
    path = "/api/payments/{id}",
    tag = "portal",
    operation_id = "payment",
    summary = "A payment with its order and its audit entries",
    security(("portalKey" = [])),
    params(("id" = vocabulary::PaymentId, Path)),
    responses((status = 200, description = "The payment", body = PaymentHistoryDocument), OfShowing),
)]
pub(crate) async fn show(
    id: Path<String>,
    _: Authenticated<PortalKeys>,
    desk: Data<Desk>,
) -> Result<Json<PaymentHistoryDocument>, Problem> {
    let id = PaymentId::parse(&id).map_err(|_| Problem::not_found())?;
    let history = desk.ask(move |ledger, _| ledger.payment(&id)).await??;
    history.map(|history| Json(history.into())).ok_or_else(Problem::not_found)
}
