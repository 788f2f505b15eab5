use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::{Data, Json};
use ports::Upkeep;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use usecases::{BackgroundStatus, Blocking, GroupCommit};

use crate::documents::ReadyDocument;
use crate::openapi::problems::{OfReadiness, OfReading};
use crate::problem::Problem;
use crate::vocabulary;

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
    responses((status = 200, description = "They can", body = ReadyDocument), OfReadiness),
)]
pub(crate) async fn ready(
    upkeep: Data<Blocking<dyn Upkeep>>,
    intake: Data<Arc<GroupCommit>>,
    readiness: Data<LedgerReadiness>,
    background: Data<Arc<BackgroundStatus>>,
) -> Result<Json<ReadyDocument>, Problem> {
    if intake.is_full() {
        return Err(Problem::unavailable("too many callbacks are waiting to be settled"));
    }
    readiness.recent(&upkeep).await?;
    Ok(Json(ReadyDocument::new(&background)))
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
    async fn recent(&self, upkeep: &Blocking<dyn Upkeep>) -> Result<(), Problem> {
        let mut newest = Arc::clone(&self.newest).lock_owned().await;
        if let Some(check) = newest.as_ref().filter(|check| check.ended.elapsed() < RECENT) {
            return check.result.clone();
        }
        // The lock moves into the work: the check has ended when the work has, even if the caller is gone.
        let ask = upkeep.run(move |upkeep| {
            let result = upkeep.check().map_err(Problem::from);
            *newest = Some(Check { ended: Instant::now(), result: result.clone() });
            result
        });
        ask.await?
    }
}
