use actix_web::rt;
use actix_web::web::{Data, Json, Payload};
use actix_web::{HttpRequest, Result};
use domain::{Outcome, Settlement};
use sha2::{Digest as _, Sha256};
use usecases::{Reading, ReceiveNotification};

use crate::authentication::WebhookAuthentication;
use crate::context::Context;
use crate::documents::SettledDocument;
use crate::logging::log_settlement;
use crate::problem::Problem;
use crate::wire::{FieldError, InvalidNotification, read_notification};

/// What the callback's route needs.
pub(crate) struct Webhook {
    pub(crate) authentication: WebhookAuthentication,
    pub(crate) body_bytes_max: usize,
    pub(crate) receive: ReceiveNotification,
}

/// `POST /api/payments/webhook`. A task of its own, so that a callback whose client hangs up is finished.
pub(crate) async fn receive(
    request: HttpRequest,
    payload: Payload,
    context: Context,
    webhook: Data<Webhook>,
) -> Result<Json<SettledDocument>, Problem> {
    rt::spawn(settle(request, payload, context, webhook)).await.map_err(Problem::processing_error)?
}

async fn settle(
    request: HttpRequest,
    payload: Payload,
    context: Context,
    webhook: Data<Webhook>,
) -> Result<Json<SettledDocument>, Problem> {
    let (key_name, body) = webhook.authentication.admit(request.headers(), payload, webhook.body_bytes_max).await?;
    let (reading, errors) = match read_notification(&body) {
        Ok(notification) => (Reading::Valid(notification), Vec::new()),
        Err(InvalidNotification { payload, errors }) => {
            (Reading::Invalid { payload, reason: summary(&errors) }, errors)
        }
    };
    let body_sha256 = Sha256::digest(&body).into();
    let settlement = webhook.receive.receive(reading, body_sha256, context.caller(key_name)).await?;
    log_settlement(&context.log, &settlement);
    answer(settlement, errors).map(Json)
}

fn answer(settlement: Settlement, errors: Vec<FieldError>) -> Result<SettledDocument, Problem> {
    match settlement.delivery.outcome {
        Outcome::Parked => Err(Problem::payment_not_found()),
        Outcome::Rejected(mismatch) => Err(Problem::contradiction(mismatch)),
        Outcome::Invalid(_) => Err(Problem::invalid_payload(errors)),
        Outcome::Processing
        | Outcome::Failed
        | Outcome::Cancelled
        | Outcome::Completed
        | Outcome::Refunded
        | Outcome::PartiallyRefunded
        | Outcome::Duplicate
        | Outcome::Ignored
        | Outcome::Unapplied(_) => Ok(settlement.delivery.into()),
    }
}

/// The bad fields in one line: what an operator sees of a body that is not kept. Short, for only known fields
/// have errors, and each a few.
fn summary(errors: &[FieldError]) -> String {
    errors.iter().map(|error| format!("{}: {}", error.field, error.reason)).collect::<Vec<_>>().join("; ")
}
