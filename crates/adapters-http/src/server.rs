//! The server: its settings, its parts, and how it stops.
//!
//! It accepts connections itself and hands them to the HTTP library, whose own server drops what waits to be
//! accepted when it stops, and tells nothing of the requests that it refuses
//! ([ADR 22](../../../docs/adr/0022-connections.md)).

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use actix_http::error::{DispatchError, ParseError};
use actix_http::{HttpService, KeepAlive};
use actix_service::{IntoServiceFactory as _, Service as _, ServiceFactory, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Extensions, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::rt::{self, Runtime};
use actix_web::web::Data;
use actix_web::{App, Error};
use ports::{Clock, History, Upkeep};
use prometheus::{Histogram, Registry};
use slog::{Logger, warn};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use usecases::{BackgroundStatus, Blocking, GroupCommit, ReceiveNotification, StatsCache, UseCases};

use crate::authentication::{ApiKeys, OperatorKeys, PortalKeys, WebhookAuthentication};
use crate::body::BodyBytesMax;
use crate::connections::{Admission, Connection, ConnectionState, OpenConnections};
use crate::metrics::Metrics;
use crate::middleware::{MiddlewareState, middleware};
use crate::request_log::RequestLog;
use crate::routes::{self, LedgerReadiness, Webhook};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// How long to wait before the next connection is accepted when one could not be.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How long what a client still sends is read and dropped after an answer that did not wait for it.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// How the server behaves.
#[derive(Debug)]
pub struct ServerSettings {
    /// Where it listens: a host and a port; port 0 picks a free one.
    pub bind_address: String,
    /// How many connections may be open. When there are more, the longest idle one is closed.
    pub connections_max: usize,
    /// How long an idle connection stays open.
    pub keep_alive: Duration,
    /// The longest that anyone waits for an answer.
    pub response_deadline: Duration,
    /// The largest body, in bytes.
    pub body_bytes_max: usize,
    /// How callbacks are authenticated.
    pub webhook_authentication: WebhookAuthentication,
    /// The portal's keys.
    pub portal_keys: ApiKeys,
    /// The operators' keys.
    pub operator_keys: ApiKeys,
}

/// A server that listens.
pub struct Server {
    listeners: Vec<TcpListener>,
    workers: Workers,
    connections: Arc<OpenConnections>,
    metrics: Arc<Metrics>,
    log: Logger,
}

/// What the server hands requests to.
pub struct Parts {
    /// Receives callbacks.
    pub receive: ReceiveNotification,
    /// Where callbacks wait; full, the service is not ready.
    pub intake: Arc<GroupCommit>,
    /// What changes payments and orders.
    pub use_cases: Blocking<UseCases>,
    /// What is stored.
    pub history: Blocking<dyn History>,
    /// How the store is.
    pub upkeep: Blocking<dyn Upkeep>,
    /// The store's stats, for `/metrics`.
    pub stats: Arc<StatsCache>,
    /// The background tasks, for `/readyz`.
    pub background: Arc<BackgroundStatus>,
    /// The metrics that `/metrics` shows; those of requests are added.
    pub registry: Registry,
    /// Observed for each callback that is answered, in seconds from its request.
    pub callback_duration: Histogram,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where requests are logged.
    pub log: Logger,
}

/// Binds the address and starts to listen.
///
/// # Errors
/// The address cannot be bound, or a thread cannot be started.
pub fn listen(settings: ServerSettings, parts: Parts) -> io::Result<Server> {
    let ServerSettings {
        bind_address,
        connections_max,
        keep_alive,
        response_deadline,
        body_bytes_max,
        webhook_authentication: authentication,
        portal_keys,
        operator_keys,
    } = settings;
    let Parts {
        receive,
        intake,
        use_cases,
        history,
        upkeep,
        stats,
        background,
        registry,
        callback_duration,
        clock,
        log,
    } = parts;
    let listeners = bind(&bind_address)?;
    let metrics = Arc::new(Metrics::new(&registry, callback_duration, clock));
    for label in [authentication.labels(), portal_keys.labels(), operator_keys.labels()].concat() {
        metrics.expect_key(label);
    }
    let connections = OpenConnections::new(connections_max, keep_alive);
    let state = MiddlewareState { log: log.clone(), metrics: Arc::clone(&metrics), response_deadline };
    let (state, webhook) = (Data::new(state), Data::new(Webhook { authentication, body_bytes_max, receive }));
    let (portal_keys, operator_keys) = (Data::new(PortalKeys(portal_keys)), Data::new(OperatorKeys(operator_keys)));
    let (bytes_max, readiness) = (Data::new(BodyBytesMax(body_bytes_max)), Data::new(LedgerReadiness::default()));
    let (intake, use_cases, history) = (Data::new(intake), Data::new(use_cases), Data::new(history));
    let (upkeep, stats, background) = (Data::new(upkeep), Data::new(stats), Data::new(background));
    let (shared_metrics, open) = (Data::new(Arc::clone(&metrics)), Data::new(Arc::clone(&connections)));
    let app = move || {
        App::new()
            .wrap(from_fn(middleware))
            .app_data(state.clone())
            .app_data(webhook.clone())
            .app_data(portal_keys.clone())
            .app_data(operator_keys.clone())
            .app_data(bytes_max.clone())
            .app_data(readiness.clone())
            .app_data(intake.clone())
            .app_data(use_cases.clone())
            .app_data(history.clone())
            .app_data(upkeep.clone())
            .app_data(stats.clone())
            .app_data(background.clone())
            .app_data(shared_metrics.clone())
            .app_data(open.clone())
            .configure(routes::configure)
    };
    let workers = Workers::start(app, &metrics, &log)?;
    Ok(Server { listeners, workers, connections, metrics, log })
}

impl Server {
    /// Where it listens.
    ///
    /// # Errors
    /// The operating system does not say.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Accepts connections as long as it is polled. Returns only when it cannot go on.
    pub async fn run(&mut self) -> io::Error {
        let Self { listeners, workers, connections, metrics, log } = self;
        loop {
            connections.room(|| metrics.connection_closed_for_room()).await;
            let accepted = poll_fn(|context| {
                let mut accepted = listeners.iter().map(|listener| listener.poll_accept(context));
                accepted.find(Poll::is_ready).unwrap_or(Poll::Pending)
            });
            match accepted.await.and_then(|(stream, _)| stream.into_std()) {
                Ok(stream) => {
                    if let Err(error) = workers.hand_over(stream, connections.admit()) {
                        return error;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    warn!(log, "connection not accepted"; "error" => %error);
                    // It may be for want of a descriptor.
                    connections.end_longest_idle();
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    /// Stops accepting connections, goes on with those that are open or wait to be accepted, and returns when each
    /// of them has ended, or after `patience`. An answer says that it is the last one of its connection; one that
    /// is idle for half a second is closed.
    pub async fn stop(mut self, patience: Duration) {
        for listener in self.listeners {
            // The runtime accepts only what it has been woken for; the queue may hold more.
            let Ok(listener) = listener.into_std() else { continue };
            loop {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let handed_over = stream.set_nonblocking(true);
                        let _ = handed_over.and_then(|()| self.workers.hand_over(stream, self.connections.admit()));
                    }
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(_) => break,
                }
            }
        }
        // Only now: a client whose connection ends would open another one, which is refused from here on.
        self.connections.stop();
        let quiet = async {
            while self.connections.count() > 0 || self.connections.requests_in_flight() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // Who has no answer by then may send again.
        let _ = tokio::time::timeout(patience, quiet).await;
    }
}

/// Listens on every address of this name that can be bound.
fn bind(address: &str) -> io::Result<Vec<TcpListener>> {
    let bind = |address: SocketAddr| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let (mut listeners, mut failure) = (Vec::new(), None);
    for address in address.to_socket_addrs()? {
        match bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

type Accepted = (std::net::TcpStream, Admission);

/// The threads that serve connections, as many as the machine has processors.
struct Workers {
    queues: Vec<UnboundedSender<Accepted>>,
    next: usize,
}

impl Workers {
    fn start<T, B>(
        app: impl Fn() -> App<T> + Clone + Send + 'static,
        metrics: &Arc<Metrics>,
        log: &Logger,
    ) -> io::Result<Self>
    where
        T: ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<B>, Error = Error, InitError = ()>
            + 'static,
        B: MessageBody + 'static,
    {
        let start = |_| {
            let (queue, accepted) = unbounded_channel();
            let (app, metrics, log) = (app.clone(), Arc::clone(metrics), log.clone());
            thread::Builder::new().name("http".to_owned()).spawn(move || {
                // Without a runtime or a service the queue is gone, and so the next connection ends the server.
                let Ok(runtime) = Runtime::new() else { return };
                runtime.block_on(serve(app, accepted, metrics, log));
            })?;
            Ok(queue)
        };
        let count = thread::available_parallelism().map_or(2, usize::from);
        Ok(Self { queues: (0..count).map(start).collect::<io::Result<_>>()?, next: 0 })
    }

    /// Each in its turn.
    fn hand_over(&mut self, stream: std::net::TcpStream, admission: Admission) -> io::Result<()> {
        self.next = (self.next + 1) % self.queues.len();
        let handed_over = self.queues[self.next].send((stream, admission));
        handed_over.map_err(|_| io::Error::other("a thread that serves connections has ended"))
    }
}

/// Serves connections on this thread.
async fn serve<T, B>(
    app: impl Fn() -> App<T>,
    mut accepted: UnboundedReceiver<Accepted>,
    metrics: Arc<Metrics>,
    log: Logger,
) where
    T: ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<B>, Error = Error, InitError = ()>
        + 'static,
    B: MessageBody + 'static,
{
    let service = HttpService::build()
        // Connections end by themselves when they are idle; the library has one patience for those that have
        // carried a request and another, which ends with a 408, for those that have not.
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(LINGER_MAX)
        .on_connect_ext(|connection: &Connection, data: &mut Extensions| {
            data.insert::<Arc<ConnectionState>>(Arc::clone(connection.state()));
        })
        .h1(map_config(app().into_factory(), |()| AppConfig::default()))
        .new_service(());
    let Ok(service) = service.await else { return };
    while let Some((stream, admission)) = accepted.recv().await {
        let Ok(stream) = TcpStream::from_std(stream) else { continue };
        let served = service.call((Connection::new(stream, admission), None));
        let (metrics, log) = (Arc::clone(&metrics), log.clone());
        rt::spawn(async move {
            if let Err(DispatchError::Parse(error)) = served.await {
                let status = match error {
                    ParseError::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                    _ => StatusCode::BAD_REQUEST,
                };
                RequestLog::head_refused(&log, &metrics, status, &error);
            }
        });
    }
}
