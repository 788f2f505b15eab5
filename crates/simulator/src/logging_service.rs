//! logging-microservice with its measured behaviour (neighbours.md): it takes records of exactly one form, one a
//! request.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use serde_json::{Map, Value, json};

use crate::server::{Behaviour, Refusal, Server, json_answer};
use crate::watched::Watched;

/// How long an idle connection stays open.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// The largest body.
const BODY_BYTES_MAX: usize = 102_400;

/// Optional fields that must be strings.
const IDS: [&str; 7] = ["timestamp", "task_id", "tenant_id", "project_id", "business_id", "agent_id", "correlation_id"];

/// A stand-in for logging-microservice, on a port of its own. It stops when this value is dropped.
pub struct LoggingService {
    server: Server,
    taken: Arc<Watched<Taken>>,
}

/// What came of the requests.
#[derive(Debug, Default)]
struct Taken {
    records: Vec<Value>,
    refusals: Vec<Refusal>,
}

impl LoggingService {
    /// Starts it.
    ///
    /// # Errors
    /// No port is free.
    pub fn start() -> io::Result<Self> {
        Self::closing_idle_after(IDLE_MAX)
    }

    /// Starts one that closes idle connections after another time than the real one.
    ///
    /// # Errors
    /// No port is free.
    pub fn closing_idle_after(idle_max: Duration) -> io::Result<Self> {
        let taken = Arc::new(Watched::default());
        let taking = Arc::clone(&taken);
        let handler = move |request| take(&taking, &request);
        let server = Server::closing_idle_after(idle_max, handler, Behaviour::Proper)?;
        Ok(Self { server, taken })
    }

    /// Its base URL, without the path.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Changes its behaviour, also for requests that have not been answered yet.
    pub fn behaviour(&self, behaviour: Behaviour) {
        self.server.behaviour(behaviour);
    }

    /// Stops it: connections are closed and new ones refused. The records are kept.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Starts it again on the same port.
    pub fn restart(&self) {
        self.server.restart();
    }

    /// The records that it has taken, in their order.
    #[must_use]
    pub fn records(&self) -> Vec<Value> {
        self.taken.lock().records.clone()
    }

    /// The requests that it has refused because of their content.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.taken.lock().refusals.clone()
    }

    /// How many requests it has read.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.server.requests()
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// How many requests it has had in progress at the same time.
    #[must_use]
    pub fn busiest(&self) -> usize {
        self.server.busiest()
    }

    /// Waits until it has taken this many records that match, and returns them.
    ///
    /// # Panics
    /// If they do not come within a minute.
    #[must_use]
    pub fn wait_for_records(&self, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let enough = |taken: &Taken| taken.records.iter().filter(|record| wanted(record)).count() >= count;
        let failed = self.taken.wait_until(enough).err();
        if let Some(taken) = failed {
            panic!("{count} records were expected: {} came, {:?}", taken.records.len(), taken.refusals);
        }
        let mut records = self.records();
        records.retain(wanted);
        records
    }

    /// Waits until it has read this many requests.
    ///
    /// # Panics
    /// If they do not come within a minute.
    pub fn wait_for_requests(&self, count: usize) {
        self.server.wait_for_requests(count);
    }
}

fn take(taken: &Watched<Taken>, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
    let record = read_record(request);
    let answer = record_answer(&record);
    match record {
        // A record whose service has a slash is answered the same and lost (neighbours.md).
        Ok(record) if record["service"].as_str().is_some_and(|service| service.contains('/')) => {}
        Ok(record) => taken.change(|taken| taken.records.push(record)),
        Err(refusal) => taken.change(|taken| taken.refusals.push(refusal)),
    }
    answer
}

/// What the real service answers.
#[must_use]
pub fn record_answer(record: &Result<Value, Refusal>) -> Response<Vec<u8>> {
    match record {
        Ok(_) => json_answer(201, &json!({ "success": true, "message": "Log ingested successfully" })),
        Err(refusal) => refusal.answer(),
    }
}

/// The record in a request.
///
/// # Errors
/// The real service would not accept it.
pub fn read_record(request: &Request<Vec<u8>>) -> Result<Value, Refusal> {
    let refusal = |status, reason: String| Refusal { status, reason };
    if request.method() != Method::POST || request.uri() != "/api/logs" {
        return Err(Refusal::no_route(request));
    }
    let body = request.body();
    if body.len() > BODY_BYTES_MAX {
        return Err(refusal(413, format!("{} bytes are too many", body.len())));
    }
    if request.headers().get(CONTENT_TYPE).is_none_or(|media_type| media_type != "application/json") {
        return Err(refusal(400, "the content type is not application/json".to_owned()));
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| refusal(400, error.to_string()))?;
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
    use crate::{Connection, Request as Sent};

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
        let mut connection = Connection::open(service.server.address()).expect("a connection");
        connection.exchange(&Sent::post("/api/logs").json(body)).expect("an answer").status
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
    fn it_refuses_what_the_real_one_refuses() {
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
        let mut connection = Connection::open(service.server.address()).expect("a connection");
        let request = Sent::post("/api/logs").json(valid().to_string());
        for _ in 0..2 {
            assert_eq!(connection.exchange(&request).expect("an answer").status, 201);
        }
        connection.closed().expect("a connection that ends");
        assert_eq!((service.connections(), service.requests()), (1, 2));
    }

    #[test]
    fn it_misbehaves_as_it_is_told() {
        let service = LoggingService::start().expect("a service");
        let open = || Connection::open(service.server.address()).expect("a connection");
        let request = Sent::post("/api/logs").json(valid().to_string());
        service.behaviour(Behaviour::Answering(500));
        assert_eq!(open().exchange(&request).expect("an answer").status, 500);
        service.behaviour(Behaviour::HangingUp);
        let mut connection = open();
        let answer = connection.exchange(&request).expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (201, None));
        connection.closed().expect("a connection that ends");
        service.behaviour(Behaviour::Crossing);
        let mut connection = open();
        assert_eq!(connection.exchange(&request).expect("an answer").status, 201);
        connection.send(&request.bytes()).expect("an open connection");
        connection.closed().expect("a connection that ends");
        service.behaviour(Behaviour::Slow(Duration::from_millis(50)));
        let began = Instant::now();
        assert_eq!(open().exchange(&request).expect("an answer").status, 201);
        assert!(began.elapsed() >= Duration::from_millis(50));

        service.behaviour(Behaviour::Hanging);
        let mut hanging = open();
        hanging.send(&request.bytes()).expect("an open connection");
        service.wait_for_requests(6);
        assert_eq!(service.records().len(), 3);
        service.behaviour(Behaviour::Proper);
        assert_eq!(hanging.receive().expect("an answer").status, 201);

        service.stop();
        assert!(hanging.closed().is_ok() && Connection::open(service.server.address()).is_err());
        service.restart();
        assert_eq!(open().exchange(&request).expect("an answer").status, 201);
        assert_eq!(service.wait_for_records(5, |_| true).len(), 5);
    }
}
