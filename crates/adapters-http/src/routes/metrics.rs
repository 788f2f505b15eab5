use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Data;
use usecases::StatsCache;

use crate::connections::OpenConnections;
use crate::metrics::Metrics;
use crate::openapi::problems::OfReading;
use crate::problem::Problem;

/// How long the store may take to answer with its stats. The other metrics matter most when it cannot.
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
    stats: Data<Arc<StatsCache>>,
    open: Data<Arc<OpenConnections>>,
) -> Result<HttpResponse, Problem> {
    stats.refresh(PATIENCE).await;
    let text = metrics.render(&open).map_err(Problem::processing_error)?;
    Ok(HttpResponse::Ok().content_type(prometheus::TEXT_FORMAT).body(text))
}
