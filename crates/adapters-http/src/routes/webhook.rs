use std::time::Instant;

use actix_web::rt;
use actix_web::web::{Data, Json, Payload};
use actix_web::{HttpRequest, Result};
use domain::{KeyName, Outcome, Settlement};
use sha2::{Digest as _, Sha256};
use usecases::{ParsedBody, ReceiveNotification};

use crate::authentication::WebhookAuthentication;
use crate::body::Body;
use crate::documents::SettledDocument;
use crate::middleware::Context;
use crate::openapi::problems::OfCallback;
use crate::problem::Problem;
use crate::request_log::RequestLog;
use crate::wire::{FieldError, InvalidNotification, NotificationBody, ValidNotification, read_notification};

/// What the callback's route needs.
pub(crate) struct Webhook {
    pub(crate) authentication: WebhookAuthentication,
    pub(crate) body_bytes_max: usize,
    pub(crate) receive: ReceiveNotification,
}

/// `POST /api/payments/webhook`. What has come whole is settled in a task of its own, so that a callback whose
/// client hangs up is finished.
#[utoipa::path(
    post,
    path = "/api/payments/webhook",
    tag = "callbacks",
    operation_id = "payment_webhook",
    summary = "Report on a payment",
    description = "Safe to repeat. A report on a payment that is not registered yet is answered with 404, kept, and \
                   applied when the payment is registered. Whether a caller needs a key, a signature or both is set \
                   by `WEBHOOK_AUTH`.",
    security(
        ("paymentKey" = []),
        ("webhookId" = [], "webhookTimestamp" = [], "webhookSignature" = []),
        ("paymentKey" = [], "webhookId" = [], "webhookTimestamp" = [], "webhookSignature" = []),
    ),
    request_body = NotificationBody,
    responses((status = 200, description = "It is settled", body = SettledDocument), OfCallback),
)]
pub(crate) async fn receive(
    request: HttpRequest,
    payload: Payload,
    context: Context,
    webhook: Data<Webhook>,
) -> Result<Json<SettledDocument>, Problem> {
    let received = Instant::now();
    context.log.callback_received();
    let Webhook { authentication, body_bytes_max, .. } = &**webhook;
    let admitted = authentication.admit(request.headers(), payload, *body_bytes_max, &context.log);
    let (key_name, body) = admitted.await?;
    let settling = async move {
        // As long as it lives, the request counts as one that is being worked on.
        let _request = request;
        settle(received, key_name, body, context, &webhook.receive).await
    };
    rt::spawn(settling).await.map_err(Problem::processing_error)?
}

async fn settle(
    received: Instant,
    key_name: KeyName,
    body: Body,
    context: Context,
    receive: &ReceiveNotification,
) -> Result<Json<SettledDocument>, Problem> {
    let read = body.content.map_err(InvalidNotification::from).and_then(|content| read_notification(&content));
    let (parsed, errors) = parsed(read, &context.log);
    // Of the bytes as they were sent, which a sender or a proxy can compute too.
    let body_sha256 = Sha256::digest(&body.sent).into();
    let settlement = receive.receive(parsed, body_sha256, context.caller(key_name), received).await?;
    answer(settlement, errors).map(Json)
}

fn parsed(read: Result<ValidNotification, InvalidNotification>, log: &RequestLog) -> (ParsedBody, Vec<FieldError>) {
    match read {
        Ok(ValidNotification { notification, left_out }) => {
            if !left_out.is_empty() {
                log.fields_left_out(&notification, &FieldError::summary(&left_out));
            }
            (ParsedBody::Valid(notification), Vec::new())
        }
        Err(InvalidNotification { payload, errors }) => {
            let reason = FieldError::summary(&errors);
            (ParsedBody::Invalid { payload: *payload, reason }, errors)
        }
    }
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
