use std::sync::Arc;

use actix_web::web::{Data, Json};
use serde_json::{Value, json};
use usecases::GroupCommit;

use crate::desk::Desk;
use crate::openapi::problems::{OfReadiness, OfReading};
use crate::openapi::vocabulary;
use crate::problem::Problem;

/// `GET /healthz`: the process lives.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "open",
    operation_id = "healthz",
    summary = "Whether the process lives",
    responses((status = 200, description = "It does", body = vocabulary::Alive), OfReading),
)]
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// `GET /readyz`: callbacks can be settled.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "open",
    operation_id = "readyz",
    summary = "Whether callbacks can be settled",
    responses((status = 200, description = "They can", body = vocabulary::Ready), OfReadiness),
)]
pub(crate) async fn ready(desk: Data<Desk>, intake: Data<Arc<GroupCommit>>) -> Result<Json<Value>, Problem> {
    if intake.is_full() {
        return Err(Problem::unavailable("too many callbacks are waiting to be settled"));
    }
    desk.ask(|ledger, _| ledger.check()).await??;
    Ok(Json(json!({ "status": "ready" })))
}
