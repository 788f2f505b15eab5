//! The portal's receiver of events (contract §7): it verifies each request as Standard Webhooks says, and takes events
//! of any type.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use serde_json::Value;
use standardwebhooks::{HEADER_WEBHOOK_ID, Webhook};

use crate::server::{Behaviour, Refusal, Server, empty_answer};
use crate::watched::Watched;

/// Where it receives events.
pub const EVENTS_PATH: &str = "/payment-events";

/// A stand-in for the portal, on a port of its own. It stops when this value is dropped.
pub struct Portal {
    server: Server,
    shared: Arc<Shared>,
}

/// An event in a request that was verified.
#[derive(Debug, Clone, PartialEq)]
pub struct HeardEvent {
    /// `webhook-id`: the event's id.
    pub id: String,
    /// `X-Request-Id`.
    pub request_id: Option<String>,
    /// How often the event has come, this time included.
    pub attempt: usize,
    /// The whole body.
    pub body: Value,
    /// When it came.
    pub at: Instant,
}

/// Verifies requests and counts how often each event comes.
pub struct EventReceiver {
    secrets: Vec<Webhook>,
    attempts: Mutex<HashMap<String, usize>>,
}

struct Shared {
    receiver: EventReceiver,
    rule: Mutex<Box<Rule>>,
    taken: Watched<Taken>,
}

/// What came of the requests.
#[derive(Debug, Default)]
struct Taken {
    events: Vec<HeardEvent>,
    refusals: Vec<Refusal>,
}

type Rule = dyn Fn(&HeardEvent) -> Option<Response<Vec<u8>>> + Send;

impl Portal {
    /// Starts a portal that accepts a signature with any of these `whsec_…` secrets and answers 204.
    ///
    /// # Errors
    /// A secret is not base64, or no port is free.
    pub fn start(secrets: &[&str]) -> io::Result<Self> {
        let (rule, taken) = (Mutex::new(Box::new(|_: &_| None) as Box<Rule>), Watched::default());
        let shared = Arc::new(Shared { receiver: EventReceiver::new(secrets)?, rule, taken });
        let handling = Arc::clone(&shared);
        let server = Server::start(move |request| handling.take(&request), Behaviour::Proper)?;
        Ok(Self { server, shared })
    }

    /// Where it receives events.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url() + EVENTS_PATH
    }

    /// Changes its behaviour, also for requests that have not been answered yet.
    pub fn behaviour(&self, behaviour: Behaviour) {
        self.server.behaviour(behaviour);
    }

    /// From now on verified events are answered by this rule; where it says nothing, with 204.
    pub fn answers(&self, rule: impl Fn(&HeardEvent) -> Option<Response<Vec<u8>>> + Send + 'static) {
        *self.shared.rule.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(rule);
    }

    /// Stops it: connections are closed and new ones refused. What it heard is kept.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Starts it again on the same port.
    pub fn restart(&self) {
        self.server.restart();
    }

    /// The events that it has heard in their order, whatever it answered.
    #[must_use]
    pub fn heard(&self) -> Vec<HeardEvent> {
        self.shared.taken.lock().events.clone()
    }

    /// The requests that it has refused because of their signature or content.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.shared.taken.lock().refusals.clone()
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

    /// Waits until it has heard this many events that match, and returns them.
    ///
    /// # Panics
    /// If they do not come within a minute.
    #[must_use]
    pub fn wait_for_events(&self, count: usize, wanted: impl Fn(&HeardEvent) -> bool) -> Vec<HeardEvent> {
        let enough = |taken: &Taken| taken.events.iter().filter(|event| wanted(event)).count() >= count;
        let failed = self.shared.taken.wait_until(enough).err();
        if let Some(taken) = failed {
            panic!("{count} events were expected: {} came, {:?}", taken.events.len(), taken.refusals);
        }
        let mut events = self.heard();
        events.retain(wanted);
        events
    }

    /// Waits until it has read this many requests.
    ///
    /// # Panics
    /// If they do not come within a minute.
    pub fn wait_for_requests(&self, count: usize) {
        self.server.wait_for_requests(count);
    }
}

impl HeardEvent {
    /// Its type, such as `order.paid`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }
}

impl EventReceiver {
    /// A receiver that accepts a signature with any of these `whsec_…` secrets.
    ///
    /// # Errors
    /// A secret is not base64.
    pub fn new(secrets: &[&str]) -> io::Result<Self> {
        let secrets = secrets.iter().map(|secret| Webhook::new(secret)).collect::<Result<_, _>>();
        let secrets = secrets.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Self { secrets, attempts: Mutex::default() })
    }

    /// The event in a request.
    ///
    /// # Errors
    /// It is posted elsewhere, not signed with one of the secrets within the last five minutes, or no event.
    pub fn receive(&self, request: &Request<Vec<u8>>) -> Result<HeardEvent, Refusal> {
        let refusal = |status, reason: &str| Refusal { status, reason: reason.to_owned() };
        if request.method() != Method::POST || request.uri() != EVENTS_PATH {
            return Err(Refusal::no_route(request));
        }
        self.verify(request)?;
        let text = |name| request.headers().get(name)?.to_str().ok().map(str::to_owned);
        if text(CONTENT_TYPE.as_str()).as_deref() != Some("application/json") {
            return Err(refusal(400, "the content type is not application/json"));
        }
        let body: Value = serde_json::from_slice(request.body()).map_err(|error| refusal(400, &error.to_string()))?;
        if !body["type"].is_string() {
            return Err(refusal(400, "an object with a type is needed"));
        }
        let id = text(HEADER_WEBHOOK_ID).unwrap_or_default();
        let attempt = {
            let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
            let attempt = attempts.entry(id.clone()).or_default();
            *attempt += 1;
            *attempt
        };
        Ok(HeardEvent { id, request_id: text("x-request-id"), attempt, body, at: Instant::now() })
    }

    fn verify(&self, request: &Request<Vec<u8>>) -> Result<(), Refusal> {
        let mut refusal = Refusal { status: 401, reason: "there is no secret".to_owned() };
        for secret in &self.secrets {
            match secret.verify(request.body(), request.headers()) {
                Ok(()) => return Ok(()),
                Err(error) => refusal.reason = error.to_string(),
            }
        }
        Err(refusal)
    }
}

impl Shared {
    fn take(&self, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
        match self.receiver.receive(request) {
            Ok(event) => {
                let told = (self.rule.lock().unwrap_or_else(PoisonError::into_inner))(&event);
                self.taken.change(|taken| taken.events.push(event));
                told.unwrap_or_else(|| empty_answer(204, &[]))
            }
            Err(refusal) => {
                let answer = refusal.answer();
                self.taken.change(|taken| taken.refusals.push(refusal));
                answer
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::json;
    use standardwebhooks::{HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP};

    use super::*;
    use crate::{Connection, Request as Sent, Response as Answer};

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const OTHER_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn paid(order: &str) -> String {
        json!({ "type": "order.paid", "timestamp": "2026-01-02T03:04:05.678Z", "data": { "orderId": order } })
            .to_string()
    }

    /// A request signed with these secrets this many seconds from now.
    fn signed(secrets: &[&str], id: &str, body: &str, from_now_s: i64) -> Sent {
        #[expect(clippy::disallowed_methods, reason = "the receiver compares with the clock")]
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
        let timestamp = i64::try_from(now.as_secs()).expect("a near time") + from_now_s;
        let sign = |secret: &&str| Webhook::new(secret).expect("a secret").sign(id, timestamp, body.as_bytes());
        let signatures: Vec<_> = secrets.iter().map(|secret| sign(secret).expect("a signature")).collect();
        Sent::post(EVENTS_PATH)
            .header(HEADER_WEBHOOK_ID, id)
            .header(HEADER_WEBHOOK_TIMESTAMP, &timestamp.to_string())
            .header(HEADER_WEBHOOK_SIGNATURE, &signatures.join(" "))
            .header("X-Request-Id", "request-1")
            .json(body)
    }

    fn send(portal: &Portal, request: &Sent) -> Answer {
        let mut connection = Connection::open(portal.server.address()).expect("a connection");
        connection.send(&request.bytes()).expect("an open connection");
        connection.receive_head().expect("an answer")
    }

    #[test]
    fn it_hears_signed_events_of_any_type_in_their_order() {
        let portal = Portal::start(&[SECRET]).expect("a portal");
        let ping = json!({ "type": "ping", "timestamp": "2026-01-02T03:04:05.678Z" }).to_string();
        for (id, body) in [("evt-1", &paid("a")), ("evt-2", &ping), ("evt-1", &paid("a"))] {
            assert_eq!(send(&portal, &signed(&[SECRET], id, body, 0)).status, 204);
        }
        let heard: Vec<_> = portal.heard().into_iter().map(|event| (event.id, event.attempt)).collect();
        assert_eq!(heard, [("evt-1".to_owned(), 1), ("evt-2".to_owned(), 1), ("evt-1".to_owned(), 2)]);
        let pings = portal.wait_for_events(1, |event| event.kind() == "ping");
        assert_eq!((pings.len(), pings[0].request_id.as_deref()), (1, Some("request-1")));
        assert_eq!((portal.heard()[0].body["data"]["orderId"].as_str(), portal.refusals()), (Some("a"), vec![]));
        assert!(portal.url().ends_with("/payment-events"), "{}", portal.url());
    }

    #[test]
    fn one_signature_of_several_is_enough() {
        let portal = Portal::start(&[SECRET]).expect("a portal");
        assert_eq!(send(&portal, &signed(&[OTHER_SECRET, SECRET], "evt-1", &paid("a"), 0)).status, 204);
        let rotating = Portal::start(&[OTHER_SECRET, SECRET]).expect("a portal");
        assert_eq!(send(&rotating, &signed(&[SECRET], "evt-1", &paid("a"), 0)).status, 204);
    }

    #[test]
    fn it_refuses_what_is_not_signed_or_no_event() {
        let portal = Portal::start(&[SECRET]).expect("a portal");
        let body = paid("a");
        let changed = signed(&[SECRET], "evt-1", &body, 0).body(paid("b"));
        let unsigned = Sent::post(EVENTS_PATH).json(body.as_str());
        let text = Sent::post(EVENTS_PATH).body("x");
        for (request, status) in [
            (signed(&[OTHER_SECRET], "evt-1", &body, 0), 401),
            (signed(&[SECRET], "evt-1", &body, -301), 401),
            (signed(&[SECRET], "evt-1", &body, 330), 401),
            (changed, 401),
            (unsigned, 401),
            (text, 401),
            (signed(&[SECRET], "evt-1", "{", 0), 400),
            (signed(&[SECRET], "evt-1", "{\"type\":7}", 0), 400),
            (Sent::get(EVENTS_PATH), 404),
            (Sent::post("/elsewhere"), 404),
        ] {
            assert_eq!(send(&portal, &request).status, status, "{request:?}");
        }
        assert_eq!((portal.heard(), portal.refusals().len()), (vec![], 10));
    }

    #[test]
    fn a_rule_decides_what_it_answers() {
        let portal = Portal::start(&[SECRET]).expect("a portal");
        portal.answers(|event| match (event.body["data"]["orderId"].as_str(), event.attempt) {
            (Some("gone"), _) => Some(empty_answer(410, &[])),
            (Some("busy"), _) => Some(empty_answer(429, &[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")])),
            (Some("twice"), 1 | 2) => Some(empty_answer(500, &[])),
            _ => None,
        });
        let post = |order: &str| send(&portal, &signed(&[SECRET], order, &paid(order), 0));
        assert_eq!(["twice", "gone", "twice", "twice"].map(|order| post(order).status), [500, 410, 500, 204]);
        let busy = post("busy");
        assert_eq!((busy.status, busy.header("retry-after")), (429, Some("Fri, 31 Dec 1999 23:59:59 GMT")));
        assert_eq!((portal.heard().len(), portal.requests(), portal.busiest()), (5, 5, 1));
    }

    #[test]
    fn it_misbehaves_stops_and_starts_again() {
        let portal = Portal::start(&[SECRET]).expect("a portal");
        portal.behaviour(Behaviour::Hanging);
        let mut hanging = Connection::open(portal.server.address()).expect("a connection");
        hanging.send(&signed(&[SECRET], "evt-1", &paid("a"), 0).bytes()).expect("an open connection");
        portal.wait_for_requests(1);
        assert_eq!(portal.heard(), []);
        portal.behaviour(Behaviour::Proper);
        assert_eq!(hanging.receive_head().expect("an answer").status, 204);
        portal.behaviour(Behaviour::Slow(Duration::MAX));
        hanging.send(&signed(&[SECRET], "evt-1", &paid("a"), 0).bytes()).expect("an open connection");
        assert_eq!(portal.wait_for_events(2, |_| true).len(), 2);
        portal.stop();
        assert!(hanging.closed().is_ok() && Connection::open(portal.server.address()).is_err());
        portal.behaviour(Behaviour::Proper);
        portal.restart();
        assert_eq!(send(&portal, &signed(&[SECRET], "evt-1", &paid("a"), 0)).status, 204);
        assert_eq!((portal.heard().len(), portal.connections()), (3, 2));
    }

    #[test]
    fn a_secret_that_is_not_base64_is_an_error() {
        assert!(Portal::start(&["whsec_!"]).is_err());
    }
}
