use std::sync::Arc;

use actix_web::web::{Data, Json};
use serde_json::{Value, json};
use usecases::GroupCommit;

use crate::desk::Desk;
use crate::problem::Problem;

/// `GET /healthz`: the process lives.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// `GET /readyz`: callbacks can be settled.
pub(crate) async fn ready(desk: Data<Desk>, intake: Data<Arc<GroupCommit>>) -> Result<Json<Value>, Problem> {
    if intake.is_full() {
        return Err(Problem::unavailable("too many callbacks are waiting to be settled"));
    }
    desk.ask(|ledger, _| ledger.check()).await??;
    Ok(Json(json!({ "status": "ready" })))
}
