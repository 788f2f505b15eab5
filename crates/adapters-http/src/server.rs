//! The server: its settings, its parts, and how it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use slog::Logger;
use usecases::{GroupCommit, ReceiveNotification};

use crate::authentication::{ApiKeys, OperatorKeys, PortalKeys, WebhookAuthentication};
use crate::body::BodyBytesMax;
use crate::context::{Surroundings, Traffic, surround};
use crate::desk::Desk;
use crate::metrics::Metrics;
use crate::routes::{self, LedgerReadings, Webhook};

/// How the server behaves.
#[derive(Debug)]
pub struct ServerSettings {
    /// Where it listens: a host and a port; port 0 picks a free one.
    pub bind_address: String,
    /// How long an idle connection stays open.
    pub keep_alive: Duration,
    /// The longest that anyone waits for an answer.
    pub response_deadline: Duration,
    /// The largest body, in bytes.
    pub body_bytes_max: usize,
    /// What callbacks must bear.
    pub webhook_authentication: WebhookAuthentication,
    /// The portal's keys.
    pub portal_keys: ApiKeys,
    /// The operators' keys.
    pub operator_keys: ApiKeys,
}

/// A server that listens.
pub struct Listening {
    /// Answers requests as long as it is polled.
    pub server: Server,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// Stops it.
    pub stop: Stop,
}

/// Binds the address and starts to listen.
///
/// # Errors
/// The address cannot be bound.
pub fn listen(
    settings: ServerSettings,
    intake: Arc<GroupCommit>,
    receive: ReceiveNotification,
    desk: Desk,
    metrics: Arc<Metrics>,
    log: Logger,
) -> std::io::Result<Listening> {
    let ServerSettings {
        bind_address,
        keep_alive,
        response_deadline,
        body_bytes_max,
        webhook_authentication: authentication,
        portal_keys,
        operator_keys,
    } = settings;
    for name in [authentication.names(), portal_keys.names(), operator_keys.names()].concat() {
        metrics.expect_key(&name);
    }
    let traffic = Arc::new(Traffic::default());
    let surroundings =
        Surroundings { log, metrics: Arc::clone(&metrics), traffic: Arc::clone(&traffic), response_deadline };
    let surroundings = web::Data::new(surroundings);
    let webhook = web::Data::new(Webhook { authentication, body_bytes_max, receive });
    let portal_keys = web::Data::new(PortalKeys(portal_keys));
    let operator_keys = web::Data::new(OperatorKeys(operator_keys));
    let bytes_max = web::Data::new(BodyBytesMax(body_bytes_max));
    let (desk, intake) = (web::Data::new(desk), web::Data::new(intake));
    let (metrics, readings) = (web::Data::new(metrics), web::Data::new(LedgerReadings::default()));
    let shared_traffic = web::Data::new(Arc::clone(&traffic));
    let app = move || {
        App::new()
            .wrap(from_fn(surround))
            .app_data(surroundings.clone())
            .app_data(webhook.clone())
            .app_data(portal_keys.clone())
            .app_data(operator_keys.clone())
            .app_data(bytes_max.clone())
            .app_data(desk.clone())
            .app_data(intake.clone())
            .app_data(metrics.clone())
            .app_data(readings.clone())
            .app_data(shared_traffic.clone())
            .configure(routes::configure)
    };
    let server =
        HttpServer::new(app).keep_alive(keep_alive).disable_signals().shutdown_timeout(60).bind(bind_address)?;
    let addresses = server.addrs();
    let server = server.run();
    let stop = Stop { handle: server.handle(), traffic };
    Ok(Listening { server, addresses, stop })
}

/// Stops a server without losing what is in flight.
pub struct Stop {
    handle: ServerHandle,
    traffic: Arc<Traffic>,
}

impl Stop {
    /// Stops accepting connections and returns when all requests in flight are answered, or after `patience`.
    /// Connections that are merely kept open do not hold it up; they end with the program.
    pub async fn stop(self, patience: Duration) {
        self.traffic.drain();
        // A graceful stop also waits for connections that are merely kept open, which nobody here does.
        drop(self.handle.stop(true));
        let quiet = async {
            while self.traffic.in_flight() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // Whoever is still not answered then may send again.
        let _ = tokio::time::timeout(patience, quiet).await;
    }
}
