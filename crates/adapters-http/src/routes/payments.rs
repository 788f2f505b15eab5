use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use domain::{PaymentId, RegistrationOutcome};
use ports::History;
use usecases::{Blocking, Registered, UseCases};

use crate::authentication::{Authenticated, PortalKeys};
use crate::body::{BodyBytesMax, read_body, require_json};
use crate::documents::{PaymentHistoryDocument, RegistrationDocument};
use crate::openapi::problems::{OfRegistration, OfShowing};
use crate::problem::Problem;
use crate::vocabulary;
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
    Authenticated { caller, .. }: Authenticated<PortalKeys>,
    bytes_max: Data<BodyBytesMax>,
    use_cases: Data<Blocking<UseCases>>,
) -> Result<HttpResponse, Problem> {
    require_json(request.headers())?;
    let body = read_body(request.headers(), payload, bytes_max.0).await?;
    let content = body.content.map_err(|error| vec![error]);
    let registration = content.and_then(|content| read_registration(&content)).map_err(Problem::invalid_payload)?;
    let registered = use_cases.run(move |use_cases| use_cases.register_payment(&registration, &caller)).await??;
    answer(registered)
}

fn answer(registered: Registered) -> Result<HttpResponse, Problem> {
    let Registered { outcome, applied, afterwards } = registered;
    let mut response = match outcome {
        RegistrationOutcome::Registered => HttpResponse::Created(),
        RegistrationOutcome::Exists => HttpResponse::Ok(),
        RegistrationOutcome::PaymentConflict => return Err(Problem::payment_conflict()),
        RegistrationOutcome::OrderConflict => return Err(Problem::order_conflict()),
    };
    let (payment, order) = afterwards?.ok_or_else(Problem::not_found)?;
    Ok(response.json(RegistrationDocument::new(outcome, &applied, payment, order)))
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
    history: Data<Blocking<dyn History>>,
) -> Result<Json<PaymentHistoryDocument>, Problem> {
    let id = PaymentId::parse(&id).map_err(|_| Problem::not_found())?;
    let history = history.run(move |history| history.payment(&id)).await??;
    history.map(|history| Json(history.into())).ok_or_else(Problem::not_found)
}
