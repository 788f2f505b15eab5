use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::{Data, Json};
use serde_json::{Value, json};
use tokio::sync::Mutex;
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
pub(crate) async fn ready(
    desk: Data<Desk>,
    intake: Data<Arc<GroupCommit>>,
    readiness: Data<LedgerReadiness>,
) -> Result<Json<Value>, Problem> {
    if intake.is_full() {
        return Err(Problem::unavailable("too many callbacks are waiting to be settled"));
    }
    readiness.recent(&desk).await?;
    Ok(Json(json!({ "status": "ready" })))
}

/// How long it counts what the ledger has answered.
const RECENT: Duration = Duration::from_secs(1);

/// Whether the ledger can settle. Finding out is a commit, and everybody may ask: so it is asked one question at a
/// time, and all who ask meanwhile and shortly after share the answer.
#[derive(Debug, Default)]
pub(crate) struct LedgerReadiness {
    newest: Arc<Mutex<Option<Check>>>,
}

#[derive(Debug)]
struct Check {
    ended: Instant,
    result: Result<(), Problem>,
}

impl LedgerReadiness {
    async fn recent(&self, desk: &Desk) -> Result<(), Problem> {
        let mut newest = Arc::clone(&self.newest).lock_owned().await;
        if let Some(check) = newest.as_ref().filter(|check| check.ended.elapsed() < RECENT) {
            return check.result.clone();
        }
        // The lock goes along: the question has ended when it has, whoever still waits for the answer.
        let ask = desk.ask(move |ledger, _| {
            let result = ledger.check().map_err(Problem::from);
            *newest = Some(Check { ended: Instant::now(), result: result.clone() });
            result
        });
        ask.await?
    }
}
