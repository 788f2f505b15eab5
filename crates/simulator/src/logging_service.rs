//! logging-microservice with its measured behaviour (neighbours.md): it takes records of exactly one form, one a
//! request, and closes what is idle. It can be told to misbehave.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// How long what is waited for may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long an idle connection stays open.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// The largest body.
const BODY_BYTES_MAX: usize = 102_400;

/// Texts that may stand beside the required ones.
const IDS: [&str; 7] = ["timestamp", "task_id", "tenant_id", "project_id", "business_id", "agent_id", "correlation_id"];

/// What stands in for logging-microservice, at an address of its own. It ends when this value goes.
#[derive(Debug)]
pub struct LoggingService {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// What the real one does.
    Proper,
    /// It reads the request and does not answer until its conduct changes.
    Hanging,
    /// It answers with this status and does nothing else.
    Answering(u16),
    /// It does what the real one does, after this time.
    Slow(Duration),
    /// It does what the real one does, and closes the connection after the answer without having said so.
    HangingUp,
    /// It does what the real one does with the first request of each connection, and closes the connection when
    /// the second comes: what a client meets whose request crosses the end of an idle connection.
    Crossing,
}

/// A request that it did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it answered.
    pub status: u16,
    /// What was wrong.
    pub reason: String,
}

#[derive(Debug)]
struct Shared {
    idle_max: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    running: bool,
    conduct: Conduct,
    records: Vec<Value>,
    refusals: Vec<Refusal>,
    /// Connections that were taken, ever.
    connections: usize,
    /// Requests that were read, ever.
    requests: usize,
    /// Requests that are being dealt with, and the most at a time.
    busy: usize,
    busiest: usize,
    /// Those that are open, to be closed when it stops.
    streams: Vec<TcpStream>,
}

impl LoggingService {
    /// Starts it.
    ///
    /// # Errors
    /// No port is free.
    pub fn start() -> io::Result<Self> {
        Self::closing_idle_after(IDLE_MAX)
    }

    /// Starts one that closes what is idle after another time than the real one.
    ///
    /// # Errors
    /// No port is free.
    pub fn closing_idle_after(idle_max: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Mutex::new(State {
            running: true,
            conduct: Conduct::Proper,
            records: Vec::new(),
            refusals: Vec::new(),
            connections: 0,
            requests: 0,
            busy: 0,
            busiest: 0,
            streams: Vec::new(),
        });
        let shared = Arc::new(Shared { idle_max, state, changed: Condvar::new() });
        let listening = Arc::clone(&shared);
        thread::spawn(move || listening.listen(&listener));
        Ok(Self { address, shared })
    }

    /// Its base URL, without the path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it does this, also with requests that wait for their answers.
    pub fn conduct(&self, conduct: Conduct) {
        self.shared.lock().conduct = conduct;
        self.shared.changed.notify_all();
    }

    /// Stops it: connections are closed, and nobody listens any more. It keeps what it has got.
    pub fn stop(&self) {
        let mut state = self.shared.lock();
        state.running = false;
        for stream in state.streams.drain(..) {
            // One that is closed already is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // Each of these wakes the listener, for it to see that it is to go.
        while TcpStream::connect(self.address).is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again on the same port.
    pub fn restart(&self) {
        let listener = loop {
            // Somebody may hold the port for a moment.
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        self.shared.lock().running = true;
        let listening = Arc::clone(&self.shared);
        thread::spawn(move || listening.listen(&listener));
    }

    /// The records that it has taken, in their order.
    #[must_use]
    pub fn records(&self) -> Vec<Value> {
        self.shared.lock().records.clone()
    }

    /// The requests that it has not taken for their own fault.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.shared.lock().refusals.clone()
    }

    /// How many requests it has read.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.shared.lock().requests
    }

    /// How many connections it has taken.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// How many requests it has had at a time.
    #[must_use]
    pub fn busiest(&self) -> usize {
        self.shared.lock().busiest
    }

    /// Waits for records like this one and hands them over when there are so many.
    ///
    /// # Panics
    /// If they do not come.
    #[must_use]
    pub fn wait_for_records(&self, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.wait_until("records", |state| state.records.iter().filter(|record| wanted(record)).count() >= count);
        let mut records = self.records();
        records.retain(wanted);
        records
    }

    /// Waits until it has read so many requests.
    ///
    /// # Panics
    /// If they do not come.
    pub fn wait_for_requests(&self, count: usize) {
        self.wait_until("requests", |state| state.requests >= count);
    }

    fn wait_until(&self, what: &str, happened: impl Fn(&State) -> bool) {
        let waiting = |state: &mut State| !happened(state);
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE, waiting);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "the {what} do not come: {} records, {:?}", state.records.len(), state.refusals);
    }
}

impl Drop for LoggingService {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            let mut state = self.lock();
            if !state.running {
                return;
            }
            if let Ok(stream) = stream
                && let Ok(other) = stream.try_clone()
            {
                state.connections += 1;
                state.streams.push(other);
                let shared = Arc::clone(&self);
                // However it ends, the client sees it.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        }
    }

    /// Answers one request after another.
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.idle_max))?;
        let closing = stream.try_clone()?;
        let mut stream = BufReader::new(stream);
        let mut first = true;
        let served = loop {
            match self.serve_one(&mut stream, first) {
                Ok(true) => first = false,
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // What is kept for the end must not keep it open.
        let _ = closing.shutdown(Shutdown::Both);
        served
    }

    /// Answers one request and says whether another may come.
    fn serve_one(&self, stream: &mut BufReader<TcpStream>, first: bool) -> io::Result<bool> {
        let request = Received::read(stream)?;
        let conduct = self.begin();
        if conduct == Conduct::Crossing && !first {
            self.end();
            return Ok(false);
        }
        if let Conduct::Slow(delay) = conduct {
            thread::sleep(delay);
        }
        let (status, document) = match conduct {
            Conduct::Answering(status) => (status, json!({ "statusCode": status })),
            _ => self.take(&request),
        };
        self.end();
        let document = document.to_string();
        // Who followed it would be seen: it is another request.
        let elsewhere = if (300..400).contains(&status) { "Location: /elsewhere\r\n" } else { "" };
        let head = format!("HTTP/1.1 {status} -\r\n{elsewhere}Content-Type: application/json");
        let length = document.len();
        stream.get_mut().write_all(format!("{head}\r\nContent-Length: {length}\r\n\r\n{document}").as_bytes())?;
        Ok(conduct != Conduct::HangingUp)
    }

    /// A request was read. Says what to do with it, as soon as anything is to be done.
    fn begin(&self) -> Conduct {
        let mut state = self.lock();
        state.requests += 1;
        state.busy += 1;
        state.busiest = state.busiest.max(state.busy);
        self.changed.notify_all();
        let hanging = |state: &mut State| state.running && state.conduct == Conduct::Hanging;
        self.changed.wait_while(state, hanging).unwrap_or_else(PoisonError::into_inner).conduct
    }

    fn end(&self) {
        self.lock().busy -= 1;
    }

    fn take(&self, request: &Received) -> (u16, Value) {
        let taken = record(request);
        let mut state = self.lock();
        if !state.running {
            // Nobody will read the answer.
            return (503, json!({ "statusCode": 503 }));
        }
        let answer = match taken {
            Ok(record) => {
                // It answers the same to a record that it loses, as those with a slash here (neighbours.md).
                if !record["service"].as_str().is_some_and(|service| service.contains('/')) {
                    state.records.push(record);
                }
                (201, json!({ "success": true }))
            }
            Err(refusal) => {
                let answer = (refusal.status, json!({ "statusCode": refusal.status, "message": refusal.reason }));
                state.refusals.push(refusal);
                answer
            }
        };
        self.changed.notify_all();
        answer
    }
}

/// A request as it came.
#[derive(Debug)]
struct Received {
    line: String,
    /// Names in lower case, and values.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Received {
    fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Self> {
        let line = read_line(stream)?;
        let mut headers = Vec::new();
        loop {
            let line = read_line(stream)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other("no header"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut received = Self { line, headers, body: Vec::new() };
        let length = received.header("content-length").unwrap_or("0").parse().map_err(io::Error::other)?;
        received.body = vec![0; length];
        stream.read_exact(&mut received.body)?;
        Ok(received)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.strip_suffix("\r\n").ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    Ok(line.to_owned())
}

/// The record that a request bears, if it is one that the real service takes.
fn record(request: &Received) -> Result<Value, Refusal> {
    let refusal = |status, reason: String| Refusal { status, reason };
    if request.line != "POST /api/logs HTTP/1.1" {
        return Err(refusal(404, format!("no such route: {}", request.line)));
    }
    if request.body.len() > BODY_BYTES_MAX {
        return Err(refusal(413, format!("{} bytes are too many", request.body.len())));
    }
    if request.header("content-type") != Some("application/json") {
        return Err(refusal(400, "the body is no JSON, says its type".to_owned()));
    }
    let value: Value = serde_json::from_slice(&request.body).map_err(|error| refusal(400, error.to_string()))?;
    match value.as_object().map(check) {
        None => Err(refusal(400, "one object is needed".to_owned())),
        Some(Err(reason)) => Err(refusal(400, reason)),
        Some(Ok(())) => Ok(value),
    }
}

/// What is wrong with the fields.
fn check(record: &Map<String, Value>) -> Result<(), String> {
    for required in ["level", "message", "service"] {
        if !record.contains_key(required) {
            return Err(format!("{required} is missing"));
        }
    }
    record.iter().try_for_each(|(name, value)| check_field(name, value).map_err(|reason| format!("{name} {reason}")))
}

fn check_field(name: &str, value: &Value) -> Result<(), &'static str> {
    let ensure = |is: bool, reason| if is { Ok(()) } else { Err(reason) };
    match name {
        "level" => {
            let known = value.as_str().is_some_and(|level| ["error", "warn", "info", "debug"].contains(&level));
            ensure(known, "must be error, warn, info or debug")
        }
        "message" => ensure(value.is_string(), "must be a string"),
        "service" => ensure(!value.as_str().ok_or("must be a string")?.is_empty(), "must not be empty"),
        "duration_ms" => ensure(value.is_number(), "must be a number"),
        "metadata" => {
            let metadata = value.as_object().ok_or("must be an object")?;
            let reserved = ["level", "message", "service", "timestamp"];
            ensure(!reserved.iter().any(|name| metadata.contains_key(*name)), "has a reserved key")
        }
        id if IDS.contains(&id) => ensure(value.is_string(), "must be a string"),
        _ => Err("should not exist"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{Connection, Request};

    fn valid() -> Value {
        json!({ "level": "info", "message": "m", "service": "s" })
    }

    fn with(changes: Value) -> Value {
        let mut record = valid();
        let changes = changes.as_object().expect("an object").clone();
        record.as_object_mut().expect("an object").extend(changes);
        record
    }

    fn post(service: &LoggingService, body: impl Into<Vec<u8>>) -> u16 {
        let mut connection = Connection::open(service.address).expect("a connection");
        connection.exchange(&Request::post("/api/logs").json(body)).expect("an answer").status
    }

    #[test]
    fn it_takes_exactly_what_the_real_one_takes() {
        let service = LoggingService::start().expect("a service");
        for taken in [
            json!({}),
            json!({ "level": "error" }),
            json!({ "service": "my-error-handler" }),
            json!({ "level": "warn", "timestamp": "2026-01-02T03:04:05Z", "correlation_id": "c", "duration_ms": 1.5 }),
            json!({ "task_id": "t", "tenant_id": "t", "project_id": "p", "business_id": "b", "agent_id": "a" }),
            json!({ "metadata": { "a": { "level": 1 }, "b": null } }),
            json!({ "message": "x".repeat(BODY_BYTES_MAX - valid().to_string().len() + 1) }),
        ] {
            assert_eq!(post(&service, with(taken.clone()).to_string()), 201, "{taken}");
        }
        assert_eq!((service.records().len(), service.refusals()), (7, vec![]));
    }

    #[test]
    fn it_takes_a_record_whose_service_has_a_slash_and_loses_it() {
        let service = LoggingService::start().expect("a service");
        assert_eq!(post(&service, with(json!({ "service": "a/b" })).to_string()), 201);
        assert_eq!((service.records(), service.refusals()), (vec![], vec![]));
    }

    #[test]
    fn it_refuses_whatever_the_real_one_refuses() {
        let service = LoggingService::start().expect("a service");
        let refused = [
            json!({ "level": "INFO" }),
            json!({ "level": "critical" }),
            json!({ "level": 3 }),
            json!({ "message": 3 }),
            json!({ "service": "" }),
            json!({ "timestamp": 3 }),
            json!({ "correlation_id": 3 }),
            json!({ "correlation_id": null }),
            json!({ "duration_ms": "3" }),
            json!({ "metadata": [] }),
            json!({ "metadata": { "level": 1 } }),
            json!({ "metadata": { "message": 1 } }),
            json!({ "metadata": { "service": 1 } }),
            json!({ "metadata": { "timestamp": 1 } }),
            json!({ "payment_id": "p" }),
        ];
        for refused in &refused {
            assert_eq!(post(&service, with(refused.clone()).to_string()), 400, "{refused}");
        }
        for missing in ["level", "message", "service"] {
            let mut record = valid();
            record.as_object_mut().expect("an object").remove(missing);
            assert_eq!(post(&service, record.to_string()), 400, "{missing}");
        }
        for body in ["", "{", "7", &json!([valid()]).to_string()] {
            assert_eq!(post(&service, body), 400, "{body}");
        }
        let large = json!({ "message": "x".repeat(BODY_BYTES_MAX - valid().to_string().len() + 2) });
        assert_eq!(post(&service, with(large).to_string()), 413);
        assert_eq!((service.records(), service.refusals().len()), (vec![], refused.len() + 8));
    }

    #[test]
    fn it_keeps_connections_open_until_they_are_idle() {
        let service = LoggingService::closing_idle_after(Duration::from_millis(300)).expect("a service");
        let mut connection = Connection::open(service.address).expect("a connection");
        let request = Request::post("/api/logs").json(valid().to_string());
        for _ in 0..2 {
            assert_eq!(connection.exchange(&request).expect("an answer").status, 201);
        }
        connection.closed().expect("a connection that ends");
        assert_eq!((service.connections(), service.requests()), (1, 2));
    }

    #[test]
    fn it_misbehaves_as_it_is_told() {
        let service = LoggingService::start().expect("a service");
        let open = || Connection::open(service.address).expect("a connection");
        let request = Request::post("/api/logs").json(valid().to_string());
        service.conduct(Conduct::Answering(500));
        assert_eq!(open().exchange(&request).expect("an answer").status, 500);
        service.conduct(Conduct::HangingUp);
        let mut connection = open();
        let answer = connection.exchange(&request).expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (201, None));
        connection.closed().expect("a connection that ends");
        service.conduct(Conduct::Crossing);
        let mut connection = open();
        assert_eq!(connection.exchange(&request).expect("an answer").status, 201);
        connection.send(&request.bytes()).expect("an open connection");
        connection.closed().expect("a connection that ends");
        service.conduct(Conduct::Slow(Duration::from_millis(50)));
        let began = Instant::now();
        assert_eq!(open().exchange(&request).expect("an answer").status, 201);
        assert!(began.elapsed() >= Duration::from_millis(50));

        service.conduct(Conduct::Hanging);
        let mut hanging = open();
        hanging.send(&request.bytes()).expect("an open connection");
        service.wait_for_requests(6);
        assert_eq!(service.records().len(), 3);
        service.conduct(Conduct::Proper);
        assert_eq!(hanging.receive().expect("an answer").status, 201);

        service.stop();
        assert!(hanging.closed().is_ok() && Connection::open(service.address).is_err());
        service.restart();
        assert_eq!(open().exchange(&request).expect("an answer").status, 201);
        assert_eq!(service.wait_for_records(5, |_| true).len(), 5);
    }
}
