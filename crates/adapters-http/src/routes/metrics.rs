use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::web::Data;
use ports::LedgerFigures;
use tokio::sync::Mutex;
use usecases::GroupCommit;

use crate::connections::OpenConnections;
use crate::desk::Desk;
use crate::metrics::{Metrics, Standing};
use crate::openapi::problems::OfReading;
use crate::problem::Problem;

/// How long the ledger may take to say how it stands. The other figures matter most when it cannot.
const PATIENCE: Duration = Duration::from_secs(1);

/// `GET /metrics`
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "open",
    operation_id = "metrics",
    summary = "What a Prometheus server collects",
    responses((status = 200, description = "Prometheus's text format", body = String, content_type = "text/plain"), OfReading),
)]
pub(crate) async fn show(
    metrics: Data<Arc<Metrics>>,
    readings: Data<LedgerReadings>,
    open: Data<Arc<OpenConnections>>,
    intake: Data<Arc<GroupCommit>>,
    desk: Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let ledger = readings.fresh(&desk).await;
    let standing = Standing {
        requests_in_flight: open.requests_in_flight(),
        http_connections: open.count(),
        http_connections_limit: open.limit(),
        queue_depth: intake.depth(),
        queue_limit: intake.queue_max(),
        connections: desk.connections(),
        ledger,
    };
    let text = metrics.render(&standing).map_err(Problem::processing_error)?;
    Ok(HttpResponse::Ok().content_type(prometheus::TEXT_FORMAT).body(text))
}

/// Asks the ledger how it stands, one question at a time: whoever asks while a question is under way shares the
/// next one, so that many who ask are no more work than one.
#[derive(Debug, Default)]
pub(crate) struct LedgerReadings {
    newest: Arc<Mutex<Option<Reading>>>,
}

#[derive(Debug)]
struct Reading {
    begun: Instant,
    figures: Option<LedgerFigures>,
}

impl LedgerReadings {
    /// What the ledger says now; `None` if it says nothing.
    async fn fresh(&self, desk: &Desk) -> Option<LedgerFigures> {
        let asked = Instant::now();
        let answer = async {
            let mut newest = Arc::clone(&self.newest).lock_owned().await;
            if let Some(reading) = newest.as_ref().filter(|reading| reading.begun >= asked) {
                return reading.figures.clone();
            }
            // The lock goes along: the question has ended when it has, whoever still waits for the answer.
            let ask = desk.ask(move |ledger, _| {
                let begun = Instant::now();
                let figures = ledger.figures().ok();
                *newest = Some(Reading { begun, figures: figures.clone() });
                figures
            });
            ask.await.ok().flatten()
        };
        tokio::time::timeout(PATIENCE, answer).await.ok().flatten()
    }
}
