//! The HTTP server under every stand-in. A handler says what the neighbour answers; a [`Behaviour`] says what goes
//! wrong on the way.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Channel, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::sleep;

use crate::faults::{Fault, FaultyStream};
use crate::watched::Watched;

/// How long an idle connection stays open: the neighbours' HTTP servers close it after 5 s (neighbours.md).
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Any free port of this machine alone.
const FREE_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// What the server does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It answers what the handler says.
    Proper,
    /// It reads the request and does not answer until its behaviour changes.
    Hanging,
    /// It answers with this status, without asking the handler. A redirect names another path of this server.
    Answering(u16),
    /// It handles the request at once and answers properly after this time.
    Slow(Duration),
    /// It answers properly, but the body comes byte by byte, this time apart.
    SlowBody(Duration),
    /// It answers properly and closes the connection, without having announced it.
    HangingUp,
    /// It answers the first request of each connection properly and closes the connection at the second, without an
    /// answer: what a client sees whose request crosses the end of an idle connection.
    Crossing,
    /// It closes the connection one byte before the end of a proper answer.
    CutShort,
    /// It resets the connection after half of a proper answer.
    Resetting,
}

/// An HTTP server on a port of its own, in a thread of its own. It stops when this value is dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

struct Shared {
    handler: Box<Handler>,
    idle_max: Duration,
    behaviour: watch::Sender<Behaviour>,
    counts: Watched<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Connections that were accepted, in total.
    connections: usize,
    /// Requests that were read, in total.
    requests: usize,
    /// Requests in progress, and their highest number.
    busy: usize,
    busiest: usize,
}

/// What the requests of a connection share.
struct Connection {
    client: SocketAddr,
    is_used: AtomicBool,
    fault: Arc<OnceLock<Fault>>,
}

/// A connection that is closed instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed")]
struct Closed;

type Handler = dyn Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync;

type Body = Either<Full<Bytes>, Channel<Bytes, Infallible>>;

impl Server {
    /// Starts a server that closes connections after 5 s without a request. The handler gets whole requests, each
    /// with the client's [`SocketAddr`] as an extension, and runs on the server's only thread, so it must not block.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(
        handler: impl Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync + 'static,
        behaviour: Behaviour,
    ) -> io::Result<Self> {
        Self::listen(FREE_PORT, handler, behaviour)
    }

    /// Like [`Server::start`], at this address.
    ///
    /// # Errors
    /// It cannot be bound.
    pub fn listen(
        address: impl ToSocketAddrs,
        handler: impl Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync + 'static,
        behaviour: Behaviour,
    ) -> io::Result<Self> {
        Self::bind(address, IDLE_MAX, Box::new(handler), behaviour)
    }

    /// Like [`Server::start`], with another time for idle connections.
    ///
    /// # Errors
    /// No port is free.
    pub fn closing_idle_after(
        idle_max: Duration,
        handler: impl Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync + 'static,
        behaviour: Behaviour,
    ) -> io::Result<Self> {
        Self::bind(FREE_PORT, idle_max, Box::new(handler), behaviour)
    }

    fn bind(
        address: impl ToSocketAddrs,
        idle_max: Duration,
        handler: Box<Handler>,
        behaviour: Behaviour,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let behaviour = watch::Sender::new(behaviour);
        let shared = Arc::new(Shared { handler, idle_max, behaviour, counts: Watched::default() });
        let running = Mutex::new(Some(Running::start(Arc::clone(&shared), listener)?));
        Ok(Self { address, shared, running })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes its behaviour, also for requests that have not been answered yet.
    pub fn behaviour(&self, behaviour: Behaviour) {
        self.shared.behaviour.send_replace(behaviour);
    }

    /// Closes all connections and the listener. The counts are kept.
    pub fn stop(&self) {
        if let Some(Running { stop, thread }) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }

    /// Starts it again on the same port.
    ///
    /// # Panics
    /// If the thread cannot be started.
    pub fn restart(&self) {
        self.stop();
        let listener = loop {
            // A client's socket may occupy the port for a moment.
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        let running = Running::start(Arc::clone(&self.shared), listener).expect("a thread");
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.counts.lock().connections
    }

    /// How many requests it has read.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.shared.counts.lock().requests
    }

    /// How many requests it has had in progress at the same time.
    #[must_use]
    pub fn busiest(&self) -> usize {
        self.shared.counts.lock().busiest
    }

    /// Waits until it has read this many requests.
    ///
    /// # Panics
    /// If they do not come within a minute.
    pub fn wait_for_requests(&self, count: usize) {
        let waited = self.shared.counts.wait_until(|counts| counts.requests >= count).map(drop);
        waited.unwrap_or_else(|counts| panic!("{count} requests were expected: {:?}", *counts));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Running {
    fn start(shared: Arc<Shared>, listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("stand-in".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = shared.listen(listener) => {}
                    _ = stopped => {}
                }
            });
            // Dropping the runtime closes all connections.
        })?;
        Ok(Self { stop, thread })
    }
}

impl Shared {
    async fn listen(self: Arc<Self>, listener: tokio::net::TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, client)) => {
                    self.counts.change(|counts| counts.connections += 1);
                    tokio::spawn(Arc::clone(&self).serve(stream, client));
                }
                // Too many open files, or a client that has left already.
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: tokio::net::TcpStream, client: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let connection = Connection { client, is_used: AtomicBool::new(false), fault: Arc::default() };
        let connection = Arc::new(connection);
        let stream = TokioIo::new(FaultyStream::new(stream, Arc::clone(&connection.fault)));
        let service = service_fn(|request| Arc::clone(&self).exchange(Arc::clone(&connection), request));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.idle_max);
        // The client sees how it ends.
        let _ = builder.serve_connection(stream, service).await;
    }

    async fn exchange(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Closed> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Closed)?.to_bytes().to_vec();
        let mut request = Request::from_parts(head, body);
        request.extensions_mut().insert(connection.client);
        // A task of its own: like the neighbours it completes a request whose client has left.
        tokio::spawn(async move { self.answer(&connection, request).await }).await.map_err(|_| Closed)?
    }

    async fn answer(&self, connection: &Connection, request: Request<Vec<u8>>) -> Result<Response<Body>, Closed> {
        let _busy = Busy::begin(&self.counts);
        let behaviour = self.wait_while_hanging().await;
        let is_used = connection.is_used.swap(true, Ordering::Relaxed);
        if behaviour == Behaviour::Crossing && is_used {
            return Err(Closed);
        }
        let response = match behaviour {
            Behaviour::Answering(status) => only_status(status),
            _ => (self.handler)(request),
        };
        if let Behaviour::Slow(delay) = behaviour {
            sleep(delay).await;
        }
        let fault = match behaviour {
            Behaviour::HangingUp => Some(Fault::CloseAfterAnswer),
            Behaviour::CutShort => Some(Fault::CutShort),
            Behaviour::Resetting => Some(Fault::Reset),
            _ => None,
        };
        if let Some(fault) = fault {
            let _ = connection.fault.set(fault);
        }
        Ok(match behaviour {
            Behaviour::SlowBody(pause) => trickling(response, pause),
            _ => response.map(|body| Either::Left(Full::from(body))),
        })
    }

    async fn wait_while_hanging(&self) -> Behaviour {
        let mut behaviour = self.behaviour.subscribe();
        let waited = behaviour.wait_for(|behaviour| *behaviour != Behaviour::Hanging).await;
        // The sender lives as long as the server.
        waited.map_or(Behaviour::Proper, |behaviour| *behaviour)
    }
}

/// A request in progress, as it is counted.
struct Busy<'a>(&'a Watched<Counts>);

impl<'a> Busy<'a> {
    fn begin(counts: &'a Watched<Counts>) -> Self {
        counts.change(|counts| {
            counts.requests += 1;
            counts.busy += 1;
            counts.busiest = counts.busiest.max(counts.busy);
        });
        Self(counts)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.change(|counts| counts.busy -= 1);
    }
}

/// A request that a stand-in did not accept because of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status that it answered.
    pub status: u16,
    /// What was wrong.
    pub reason: String,
}

impl Refusal {
    /// There is nothing at this address.
    pub(crate) fn no_route(request: &Request<Vec<u8>>) -> Self {
        Self { status: 404, reason: format!("no such route: {} {}", request.method(), request.uri()) }
    }

    /// The answer that says so.
    ///
    /// # Panics
    /// If there is no such status.
    #[must_use]
    pub fn answer(&self) -> Response<Vec<u8>> {
        json_answer(self.status, &json!({ "statusCode": self.status, "message": self.reason }))
    }
}

/// An answer without a body, for handlers.
///
/// # Panics
/// If there is no such status, name or value.
#[must_use]
pub fn empty_answer(status: u16, headers: &[(&'static str, &str)]) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().expect("a value"));
    }
    response
}

/// An answer of JSON, for handlers.
///
/// # Panics
/// If there is no such status.
#[must_use]
pub fn json_answer(status: u16, document: &Value) -> Response<Vec<u8>> {
    let mut response = Response::new(document.to_string().into_bytes());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn only_status(status: u16) -> Response<Vec<u8>> {
    let mut response = json_answer(status, &json!({ "statusCode": status }));
    if response.status().is_redirection() {
        // A client that followed it would be counted as another request.
        response.headers_mut().insert(LOCATION, HeaderValue::from_static("/elsewhere"));
    }
    response
}

/// The same answer, its body byte by byte.
fn trickling(response: Response<Vec<u8>>, pause: Duration) -> Response<Body> {
    let (mut head, bytes) = response.into_parts();
    head.headers.insert(CONTENT_LENGTH, bytes.len().into());
    let (mut sender, body) = Channel::new(1);
    tokio::spawn(async move {
        for byte in bytes {
            sleep(pause).await;
            // The client may have left.
            if sender.send_data(Bytes::from(vec![byte])).await.is_err() {
                return;
            }
        }
    });
    Response::from_parts(head, Either::Right(body))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{Connection, Request as Sent};

    fn open(server: &Server) -> Connection {
        Connection::open(server.address()).expect("a connection")
    }

    fn echo(behaviour: Behaviour) -> Server {
        Server::start(|request| json_answer(201, &json!(request.body().len())), behaviour).expect("a server")
    }

    fn posted() -> Sent {
        Sent::post("/").body("seven b")
    }

    #[test]
    fn the_handler_sees_the_whole_request_and_says_the_answer() {
        let server = Server::start(
            |request| {
                let body = String::from_utf8_lossy(request.body());
                json_answer(202, &json!([request.method().as_str(), request.uri().to_string(), body]))
            },
            Behaviour::Proper,
        );
        let server = server.expect("a server");
        let answer = open(&server).exchange(&Sent::post("/a?b=c").body("d")).expect("an answer");
        assert_eq!((answer.status, answer.json()), (202, json!(["POST", "/a?b=c", "d"])));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }

    #[test]
    fn a_connection_serves_many_requests_until_it_is_idle() {
        let idle_max = Duration::from_millis(300);
        let server = Server::closing_idle_after(idle_max, |_| Response::new(Vec::new()), Behaviour::Proper);
        let server = server.expect("a server");
        let mut connection = open(&server);
        for _ in 0..3 {
            assert_eq!(connection.exchange(&posted()).expect("an answer").status, 200);
        }
        let began = Instant::now();
        connection.closed().expect("a connection that ends");
        assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
        assert_eq!((server.connections(), server.requests()), (1, 3));
    }

    #[test]
    fn a_status_is_answered_without_the_handler() {
        let server = echo(Behaviour::Answering(307));
        let answer = open(&server).exchange(&posted()).expect("an answer");
        assert_eq!((answer.status, answer.header("location")), (307, Some("/elsewhere")));
    }

    #[test]
    fn a_hanging_server_answers_when_its_behaviour_changes() {
        let server = echo(Behaviour::Hanging);
        let mut connection = open(&server);
        connection.send(&posted().bytes()).expect("an open connection");
        server.wait_for_requests(1);
        server.behaviour(Behaviour::Proper);
        assert_eq!(connection.receive().expect("an answer").status, 201);
    }

    #[test]
    fn a_hanging_server_counts_the_requests_in_progress_and_completes_those_whose_clients_left() {
        let handled = Arc::new(Watched::<usize>::default());
        let counting = Arc::clone(&handled);
        let handler = move |_| {
            counting.change(|handled| *handled += 1);
            Response::new(Vec::new())
        };
        let server = Server::start(handler, Behaviour::Hanging).expect("a server");
        for _ in 0..3 {
            open(&server).send(&posted().bytes()).expect("an open connection");
        }
        server.wait_for_requests(3);
        server.behaviour(Behaviour::Proper);
        assert!(handled.wait_until(|handled| *handled == 3).is_ok());
        assert_eq!((server.busiest(), server.connections()), (3, 3));
    }

    #[test]
    fn a_slow_server_answers_late_and_a_slow_body_comes_in_pieces() {
        for (behaviour, least) in [
            (Behaviour::Slow(Duration::from_millis(50)), Duration::from_millis(50)),
            (Behaviour::SlowBody(Duration::from_millis(20)), Duration::from_millis(20)),
        ] {
            let server = echo(behaviour);
            let mut connection = open(&server);
            let began = Instant::now();
            for _ in 0..2 {
                let answer = connection.exchange(&posted()).expect("an answer");
                assert_eq!((answer.status, answer.json()), (201, json!(7)));
            }
            assert!(began.elapsed() >= least * 2, "{:?}", began.elapsed());
        }
    }

    #[test]
    fn a_server_that_hangs_up_answers_first_and_does_not_announce_it() {
        let server = echo(Behaviour::HangingUp);
        let mut connection = open(&server);
        let answer = connection.exchange(&posted()).expect("an answer");
        assert_eq!((answer.status, answer.json(), answer.header("connection")), (201, json!(7), None));
        connection.closed().expect("a connection that ends");
    }

    #[test]
    fn a_second_request_crosses_the_end_of_its_connection() {
        let server = echo(Behaviour::Crossing);
        let mut connection = open(&server);
        assert_eq!(connection.exchange(&posted()).expect("an answer").status, 201);
        connection.send(&posted().bytes()).expect("an open connection");
        connection.closed().expect("a connection that ends");
        assert_eq!((server.connections(), server.requests()), (1, 2));
    }

    #[test]
    fn an_answer_ends_before_its_last_byte() {
        let server = echo(Behaviour::CutShort);
        let mut connection = open(&server);
        connection.send(&posted().bytes()).expect("an open connection");
        let head = connection.receive_head().expect("a head");
        assert_eq!((head.status, head.header("content-length")), (201, Some("1")));
        connection.closed().expect("a connection that ends without the body");
    }

    #[test]
    fn a_connection_is_reset_in_the_middle_of_an_answer() {
        let server = echo(Behaviour::Resetting);
        let mut connection = open(&server);
        let error = connection.exchange(&posted()).expect_err("no answer");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    }

    #[test]
    fn a_stopped_server_closes_everything_and_can_start_again() {
        let server = echo(Behaviour::Proper);
        let mut connection = open(&server);
        assert_eq!(connection.exchange(&posted()).expect("an answer").status, 201);
        server.stop();
        connection.closed().expect("a connection that ends");
        assert!(Connection::open(server.address()).is_err());
        server.restart();
        assert_eq!(open(&server).exchange(&posted()).expect("an answer").status, 201);
        assert_eq!(server.requests(), 2);
    }
}
