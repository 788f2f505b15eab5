//! payments-microservice with its measured behaviour (neighbours.md): it makes payments, says what became of them, and
//! calls back.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::header::RETRY_AFTER;
use http::{Method, Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::callbacks::{CallbackSender, Form, Receiver, Sending, SentCallback};
use crate::clock::{now, rfc3339};
use crate::server::{Behaviour, Refusal, Server, json_answer};
use crate::watched::Watched;

/// How many requests a minute it answers for each route and address.
const REQUESTS_PER_MINUTE_MAX: usize = 100;

const MINUTE: Duration = Duration::from_secs(60);

/// How far `createdAt` is off: the offset of its machine's time zone from UTC.
const ZONE_OFFSET: Duration = Duration::from_secs(3600);

/// A stand-in for payments-microservice, on a port of its own. It stops when this value is dropped.
pub struct PaymentsService {
    server: Server,
    shared: Arc<Shared>,
}

/// What a provider reports of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is paid.
    Completed,
    /// It was not paid.
    Failed,
    /// The customer has cancelled it.
    Cancelled,
    /// All of it was refunded.
    Refunded,
    /// A part of it was refunded. This leaves no trace in the status that is answered.
    PartiallyRefunded,
}

/// A question about a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The id that it asks about.
    pub payment_id: String,
    /// The status of the answer.
    pub status: u16,
    /// When it was answered.
    pub at: Instant,
}

struct Shared {
    /// The key that its callers need.
    key: String,
    log: fn(&dyn Display),
    state: Watched<State>,
    rule: Mutex<Box<Rule>>,
    callbacks: CallbackSender,
}

#[derive(Default)]
struct State {
    payments: HashMap<Uuid, Payment>,
    /// The error of its own database, while there is one.
    outage: Option<String>,
    receiver: Option<Receiver>,
    /// The requests of the last minute.
    admitted: HashMap<(Route, IpAddr), VecDeque<Instant>>,
    asked: Vec<Asked>,
}

/// A route with a limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Route {
    Create,
    Status,
}

#[derive(Clone)]
struct Payment {
    order_id: String,
    status: &'static str,
    /// With two decimals whatever the currency.
    amount: String,
    /// As its creator wrote it.
    currency: String,
    method: String,
    transaction_id: String,
    created_at: SystemTime,
    completed_at: Option<SystemTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewPayment {
    order_id: String,
    amount: Value,
    currency: String,
    payment_method: String,
}

type Rule = dyn Fn(&str) -> Option<Response<Vec<u8>>> + Send;

impl PaymentsService {
    /// Starts it for callers with this key. It does not call back before [`PaymentsService::calls_back`].
    ///
    /// # Errors
    /// No port is free.
    pub fn start(key: &str) -> io::Result<Self> {
        Self::listen((Ipv4Addr::LOCALHOST, 0), key, |_| ())
    }

    /// Like [`PaymentsService::start`], at this address. It logs a line for each request and for each attempt to call
    /// back.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn listen(address: impl ToSocketAddrs, key: &str, log: fn(&dyn Display)) -> io::Result<Self> {
        let rule = Mutex::new(Box::new(|_: &_| None) as Box<Rule>);
        let (key, state, callbacks) = (key.to_owned(), Watched::default(), CallbackSender::new(log)?);
        let shared = Arc::new(Shared { key, log, state, rule, callbacks });
        let handling = Arc::clone(&shared);
        let server = Server::listen(address, move |request| handling.answer(&request), Behaviour::Proper)?;
        Ok(Self { server, shared })
    }

    /// Its base URL, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Changes its behaviour, also for requests that have not been answered yet.
    pub fn behaviour(&self, behaviour: Behaviour) {
        self.server.behaviour(behaviour);
    }

    /// From now on questions are answered by this rule, which gets the payment's id; where it says nothing, properly.
    /// The limit and the key come first.
    pub fn answers(&self, rule: impl Fn(&str) -> Option<Response<Vec<u8>>> + Send + 'static) {
        *self.shared.rule() = Box::new(rule);
    }

    /// From now on its own database fails with this error; with `None` it works again.
    pub fn outage(&self, error: Option<&str>) {
        self.shared.state.lock().outage = error.map(str::to_owned);
    }

    /// From now on it calls back at this `http://` URL, in the documented form with this key.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn calls_back(&self, url: &str, key: &str) -> io::Result<()> {
        self.shared.state.lock().receiver = Some(Receiver::new(url, key)?);
        Ok(())
    }

    /// Makes a payment, which is `processing`, and returns its id.
    #[must_use]
    pub fn create(&self, order_id: &str, amount: f64, currency: &str, method: &str) -> String {
        self.shared.create(order_id, amount, currency, method).to_string()
    }

    /// Changes a payment and sends the callback.
    ///
    /// # Panics
    /// If there is no such payment.
    pub fn change(&self, payment_id: &str, change: Change, sending: Sending) {
        let id = payment_id.parse().expect("a payment's id");
        assert!(self.shared.change(id, change, sending).is_some(), "there is no payment {id}");
    }

    /// Stops it: connections are closed and new ones refused. The payments are kept.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Starts it again on the same port.
    pub fn restart(&self) {
        self.server.restart();
    }

    /// The questions that it has answered, in their order.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.state.lock().asked.clone()
    }

    /// The attempts to call back, in the order in which they ended.
    #[must_use]
    pub fn sent(&self) -> Vec<SentCallback> {
        self.shared.callbacks.sent().lock().clone()
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

    /// Waits until it has read this many requests.
    ///
    /// # Panics
    /// If they do not come within a minute.
    pub fn wait_for_requests(&self, count: usize) {
        self.server.wait_for_requests(count);
    }

    /// Waits until this many attempts to call back have ended, and returns them.
    ///
    /// # Panics
    /// If they have not after a minute.
    #[must_use]
    pub fn wait_for_sent(&self, count: usize) -> Vec<SentCallback> {
        let waited = self.shared.callbacks.sent().wait_until(|sent| sent.len() >= count);
        waited.unwrap_or_else(|sent| panic!("{count} callbacks were expected: {:?}", *sent)).clone()
    }
}

impl Change {
    /// The change that a path asks for.
    fn parse(word: &str) -> Option<Self> {
        match word {
            "complete" => Some(Self::Completed),
            "fail" => Some(Self::Failed),
            "cancel" => Some(Self::Cancelled),
            "refund" => Some(Self::Refunded),
            "refund-partially" => Some(Self::PartiallyRefunded),
            _ => None,
        }
    }

    /// The status and the event of the callback. The status is also what is answered from then on.
    fn status_and_event(self) -> (&'static str, &'static str) {
        match self {
            Self::Completed => ("completed", "completed"),
            Self::Failed => ("failed", "failed"),
            Self::Cancelled => ("cancelled", "cancelled"),
            Self::Refunded => ("refunded", "refunded"),
            Self::PartiallyRefunded => ("completed", "refunded"),
        }
    }
}

impl Shared {
    fn rule(&self) -> MutexGuard<'_, Box<Rule>> {
        self.rule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
        let path: Vec<_> = request.uri().path().trim_start_matches('/').split('/').collect();
        let response = match (request.method(), path.as_slice()) {
            (&Method::POST, ["payments", "create"]) => {
                self.limited(Route::Create, request, || self.post_payment(request.body()))
            }
            (&Method::GET, ["payments", id]) => {
                let response = self.limited(Route::Status, request, || self.get_payment(id));
                let (payment_id, status) = ((*id).to_owned(), response.status().as_u16());
                self.state.lock().asked.push(Asked { payment_id, status, at: Instant::now() });
                response
            }
            (&Method::POST, ["payments", id, change]) => {
                let query = request.uri().query().unwrap_or_default();
                self.post_change(id, change, query).unwrap_or_else(|refusal| refusal.answer())
            }
            _ => Refusal::no_route(request).answer(),
        };
        (self.log)(&format_args!("{} {}: {}", request.method(), request.uri(), response.status().as_u16()));
        response
    }

    /// The answer to a caller who is within the limit and has the key.
    fn limited(
        &self,
        route: Route,
        request: &Request<Vec<u8>>,
        answer: impl FnOnce() -> Response<Vec<u8>>,
    ) -> Response<Vec<u8>> {
        let client = request.extensions().get().map_or(Ipv4Addr::UNSPECIFIED.into(), SocketAddr::ip);
        let (remaining, reset_s) = match self.state.lock().admit(route, client) {
            Ok(admitted) => admitted,
            Err(retry_after_s) => {
                let too_many = json!({ "statusCode": 429, "message": "ThrottlerException: Too Many Requests" });
                let mut response = json_answer(429, &too_many);
                response.headers_mut().insert(RETRY_AFTER, retry_after_s.into());
                return response;
            }
        };
        if request.headers().get("x-api-key").is_none_or(|key| key.as_bytes() != self.key.as_bytes()) {
            return Refusal { status: 401, reason: "Invalid API key".to_owned() }.answer();
        }
        let mut response = answer();
        if response.status() == 200 {
            let headers = response.headers_mut();
            headers.insert("x-ratelimit-limit", REQUESTS_PER_MINUTE_MAX.into());
            headers.insert("x-ratelimit-remaining", remaining.into());
            headers.insert("x-ratelimit-reset", reset_s.into());
        }
        response
    }

    fn get_payment(&self, id: &str) -> Response<Vec<u8>> {
        if let Some(answer) = (self.rule())(id) {
            return answer;
        }
        let failure = |message: &str| {
            json_answer(404, &json!({ "success": false, "error": "PAYMENT_NOT_FOUND", "message": message }))
        };
        let state = self.state.lock();
        if let Some(error) = &state.outage {
            return failure(error);
        }
        let Ok(uuid) = Uuid::parse_str(id) else {
            return failure(&format!("invalid input syntax for type uuid: \"{id}\""));
        };
        match state.payments.get(&uuid) {
            Some(payment) => json_answer(200, &payment.document(uuid)),
            None => {
                let message = format!("Payment with ID {id} not found");
                json_answer(404, &json!({ "message": message, "error": "Not Found", "statusCode": 404 }))
            }
        }
    }

    fn post_payment(&self, body: &[u8]) -> Response<Vec<u8>> {
        let bad = |reason: String| Refusal { status: 400, reason }.answer();
        let new: NewPayment = match serde_json::from_slice(body) {
            Ok(new) => new,
            Err(error) => return bad(error.to_string()),
        };
        let amount = new.amount.as_f64().or_else(|| new.amount.as_str()?.parse().ok());
        let Some(amount) = amount.filter(|amount| amount.is_finite() && *amount > 0.0) else {
            return bad("amount must be a positive number".to_owned());
        };
        let id = self.create(&new.order_id, amount, &new.currency, &new.payment_method);
        json_answer(201, &json!({ "success": true, "data": { "paymentId": id.to_string(), "status": "processing" } }))
    }

    fn create(&self, order_id: &str, amount: f64, currency: &str, method: &str) -> Uuid {
        #[expect(clippy::disallowed_methods, reason = "its ids are random")]
        let id = Uuid::new_v4();
        let payment = Payment {
            order_id: order_id.to_owned(),
            status: "processing",
            amount: format!("{amount:.2}"),
            currency: currency.to_owned(),
            method: method.to_owned(),
            transaction_id: format!("TX-{}", id.simple()),
            created_at: now(),
            completed_at: None,
        };
        self.state.lock().payments.insert(id, payment);
        id
    }

    /// A change by hand, for which the real service has no route.
    fn post_change(&self, id: &str, change: &str, query: &str) -> Result<Response<Vec<u8>>, Refusal> {
        let refusal = |status, reason| Refusal { status, reason };
        let change = Change::parse(change).ok_or_else(|| refusal(404, format!("there is no change {change}")))?;
        let sending = Sending::parse(query).map_err(|reason| refusal(400, reason))?;
        let document = id.parse().ok().and_then(|id| self.change(id, change, sending));
        let document = document.ok_or_else(|| refusal(404, format!("there is no payment {id}")))?;
        Ok(json_answer(202, &document))
    }

    /// Changes a payment and sends the callback. Returns what is answered of it from now on; `None` if it is unknown.
    fn change(&self, id: Uuid, change: Change, sending: Sending) -> Option<Value> {
        let now = now();
        let mut state = self.state.lock();
        let payment = state.payments.get_mut(&id)?;
        payment.status = change.status_and_event().0;
        // A full refund leaves `null` (recorded).
        payment.completed_at = (payment.status == "completed").then(|| payment.completed_at.unwrap_or(now));
        let payment = payment.clone();
        let is_silent = change == Change::Cancelled && sending.form == Form::Older;
        if let Some(receiver) = state.receiver.as_ref().filter(|_| !is_silent) {
            for copy in 0..sending.copies {
                let timestamp = now + Duration::from_millis(copy.into());
                let body = payment.callback(id, change, sending.form, timestamp);
                self.callbacks.send(receiver.clone(), sending, body);
            }
        }
        Some(payment.document(id))
    }
}

impl State {
    /// Counts a request. Returns how many more are admitted, and after how many seconds the oldest no longer counts.
    ///
    /// # Errors
    /// There were too many in the last minute: after how many seconds another one is admitted.
    fn admit(&mut self, route: Route, client: IpAddr) -> Result<(usize, u64), u64> {
        let now = Instant::now();
        let admitted = self.admitted.entry((route, client)).or_default();
        while admitted.front().is_some_and(|at| now.duration_since(*at) >= MINUTE) {
            admitted.pop_front();
        }
        let oldest = admitted.front().copied().unwrap_or(now);
        let reset_s = (MINUTE - now.duration_since(oldest)).as_secs_f64().ceil() as u64;
        if admitted.len() >= REQUESTS_PER_MINUTE_MAX {
            return Err(reset_s);
        }
        admitted.push_back(now);
        Ok((REQUESTS_PER_MINUTE_MAX - admitted.len(), reset_s))
    }
}

impl Payment {
    /// What is answered of it.
    fn document(&self, id: Uuid) -> Value {
        json!({ "success": true, "data": {
            "paymentId": id.to_string(), "orderId": self.order_id, "status": self.status, "amount": self.amount,
            "currency": self.currency, "paymentMethod": self.method, "providerTransactionId": self.transaction_id,
            "createdAt": rfc3339(self.created_at + ZONE_OFFSET), "completedAt": self.completed_at.map(rfc3339),
        } })
    }

    /// The body of a callback.
    fn callback(&self, id: Uuid, change: Change, form: Form, timestamp: SystemTime) -> Value {
        let (status, event) = change.status_and_event();
        let mut body = json!({
            "paymentId": id.to_string(), "orderId": self.order_id, "status": status, "event": event,
            "timestamp": rfc3339(timestamp),
        });
        if form == Form::Documented {
            body["paymentMethod"] = json!(self.method);
            body["metadata"] = json!({ "providerTransactionId": self.transaction_id, "additionalInfo": {} });
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::{Connection, Request as Sent, Response as Answer, empty_answer};

    const KEY: &str = "upstream-key-1";
    const CALLBACK_KEY: &str = "portal-key-1";

    /// A receiver of callbacks that answers with these statuses, and in the end with 200.
    struct Portal {
        server: Server,
        heard: Arc<Watched<Vec<Heard>>>,
    }

    #[derive(Clone)]
    struct Heard {
        key: Option<String>,
        body: Value,
    }

    impl Portal {
        fn answering(statuses: &'static [u16]) -> Self {
            let heard = Arc::new(Watched::<Vec<Heard>>::default());
            let hearing = Arc::clone(&heard);
            let handler = move |request: Request<Vec<u8>>| {
                let key = request.headers().get("x-api-key").map(|key| key.to_str().expect("text").to_owned());
                let body = serde_json::from_slice(request.body()).expect("JSON");
                let earlier = hearing.lock().len();
                hearing.change(|heard| heard.push(Heard { key, body }));
                empty_answer(statuses.get(earlier).copied().unwrap_or(200), &[])
            };
            Self { server: Server::start(handler, Behaviour::Proper).expect("a server"), heard }
        }

        fn bodies(&self) -> Vec<Value> {
            self.heard.lock().iter().map(|heard| heard.body.clone()).collect()
        }
    }

    fn calling_back(portal: &Portal) -> PaymentsService {
        let service = PaymentsService::start(KEY).expect("a service");
        service.calls_back(&(portal.server.url() + "/api/payments/webhook"), CALLBACK_KEY).expect("a URL");
        service
    }

    fn exchange(service: &PaymentsService, request: &Sent) -> Answer {
        Connection::open(service.server.address()).expect("a connection").exchange(request).expect("an answer")
    }

    fn get(service: &PaymentsService, id: &str) -> Answer {
        exchange(service, &Sent::get(&format!("/payments/{id}")).key(KEY))
    }

    fn status(service: &PaymentsService, id: &str) -> Value {
        get(service, id).json()["data"]["status"].clone()
    }

    fn recorded(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn a_payment_is_answered_as_recorded() {
        let service = PaymentsService::start(KEY).expect("a service");
        for (document, change) in [
            (include_str!("../fixtures/payment-status-processing.json"), None),
            (include_str!("../fixtures/payment-status-refunded.json"), Some(Change::Refunded)),
        ] {
            let document = recorded(document);
            let text = |name: &str| document["data"][name].as_str().expect("text").to_owned();
            let id = text("paymentId");
            let created_at = DateTime::parse_from_rfc3339(&text("createdAt")).expect("a time");
            let payment = Payment {
                order_id: text("orderId"),
                status: "processing",
                amount: text("amount"),
                currency: text("currency"),
                method: text("paymentMethod"),
                transaction_id: text("providerTransactionId"),
                created_at: SystemTime::from(created_at) - ZONE_OFFSET,
                completed_at: None,
            };
            service.shared.state.lock().payments.insert(id.parse().expect("a UUID"), payment);
            if let Some(change) = change {
                service.change(&id, Change::Completed, Sending::default());
                service.change(&id, change, Sending::default());
            }
            let answer = get(&service, &id);
            assert_eq!((answer.status, answer.json()), (200, document));
        }
    }

    #[test]
    fn an_unknown_payment_and_a_failure_of_its_own_are_both_404_as_recorded() {
        let service = PaymentsService::start(KEY).expect("a service");
        let unknown = "00000000-0000-4000-8000-000000000000";
        for (id, document) in [
            (unknown, include_str!("../fixtures/payment-status-unknown-404.json")),
            ("abc", include_str!("../fixtures/payment-status-malformed-id-404.json")),
        ] {
            let answer = get(&service, id);
            assert_eq!((answer.status, answer.json()), (404, recorded(document)));
        }
        let id = service.create("order-1", 29.9, "EUR", "payu");
        service.outage(Some("connect ECONNREFUSED 127.0.0.1:5432"));
        let answer = get(&service, &id);
        let failure = "{\"success\":false,\"error\":\"PAYMENT_NOT_FOUND\",\
                       \"message\":\"connect ECONNREFUSED 127.0.0.1:5432\"}";
        assert_eq!((answer.status, answer.json()), (404, recorded(failure)));
        service.outage(None);
        assert_eq!(status(&service, &id), "processing");
        let asked: Vec<_> = service.asked().into_iter().map(|asked| (asked.payment_id, asked.status)).collect();
        assert_eq!(asked, [(unknown.into(), 404), ("abc".into(), 404), (id.clone(), 404), (id, 200)]);
    }

    #[test]
    fn amounts_have_two_decimals_and_currencies_are_kept_as_they_were_written() {
        let service = PaymentsService::start(KEY).expect("a service");
        for (amount, currency, expect) in
            [(json!(1299), "CZK", "1299.00"), (json!("1000"), "JPY", "1000.00"), (json!(1.234), "KWD", "1.23")]
        {
            let new = json!({ "orderId": "o", "amount": amount, "currency": currency, "paymentMethod": "payu" });
            let made = exchange(&service, &Sent::post("/payments/create").key(KEY).json(new.to_string()));
            assert_eq!(made.status, 201);
            let id = made.json()["data"]["paymentId"].as_str().expect("an id").to_owned();
            let data = get(&service, &id).json()["data"].clone();
            assert_eq!((data["amount"].as_str(), data["currency"].as_str()), (Some(expect), Some(currency)));
        }
        let id = service.create("order-1", 29.9, "eur", "payu");
        assert_eq!(get(&service, &id).json()["data"]["currency"], "eur");
        for bad in ["{", "{}", "{\"orderId\":\"o\",\"amount\":-1,\"currency\":\"EUR\",\"paymentMethod\":\"payu\"}"] {
            assert_eq!(exchange(&service, &Sent::post("/payments/create").key(KEY).json(bad)).status, 400, "{bad}");
        }
    }

    #[test]
    fn callers_need_the_key() {
        let service = PaymentsService::start(KEY).expect("a service");
        let id = service.create("order-1", 29.9, "EUR", "payu");
        for request in [
            Sent::get(&format!("/payments/{id}")),
            Sent::get(&format!("/payments/{id}")).key("another"),
            Sent::post("/payments/create").key(CALLBACK_KEY).json("{}"),
        ] {
            assert_eq!(exchange(&service, &request).status, 401, "{request:?}");
        }
    }

    #[test]
    fn a_hundred_requests_a_minute_are_answered_for_each_route_and_address() {
        let service = PaymentsService::start(KEY).expect("a service");
        let id = service.create("order-1", 29.9, "EUR", "payu");
        let mut connection = Connection::open(service.server.address()).expect("a connection");
        let mut ask = || {
            let request = Sent::get(&format!("/payments/{id}")).key(KEY).header("X-Forwarded-For", "192.0.2.1");
            connection.exchange(&request).expect("an answer")
        };
        for remaining in (0..100).rev() {
            let answer = ask();
            let limits = ["x-ratelimit-limit", "x-ratelimit-remaining"].map(|name| answer.header(name));
            assert_eq!((answer.status, limits), (200, [Some("100"), Some(remaining.to_string().as_str())]));
            assert!(answer.header("x-ratelimit-reset").is_some());
        }
        let refused = ask();
        assert_eq!(refused.json(), recorded(include_str!("../fixtures/throttled-429.json")));
        let retry_after_s: u64 = refused.header("retry-after").expect("a header").parse().expect("a number");
        assert!(refused.status == 429 && (1..=60).contains(&retry_after_s), "{refused:?}");
        assert_eq!(exchange(&service, &Sent::post("/payments/create").key(KEY).json("{}")).status, 400);
        assert!(service.shared.state.lock().admit(Route::Status, "127.0.0.2".parse().expect("an address")).is_ok());

        for admitted in service.shared.state.lock().admitted.values_mut().flatten() {
            *admitted -= MINUTE;
        }
        assert_eq!(ask().status, 200);
    }

    #[test]
    fn a_change_is_answered_and_called_back_as_documented() {
        let portal = Portal::answering(&[]);
        let service = calling_back(&portal);
        for (change, status, event) in [
            (Change::Completed, "completed", "completed"),
            (Change::Failed, "failed", "failed"),
            (Change::Cancelled, "cancelled", "cancelled"),
            (Change::Refunded, "refunded", "refunded"),
            (Change::PartiallyRefunded, "completed", "refunded"),
        ] {
            let earlier = service.sent().len();
            let id = service.create("order-1", 29.9, "EUR", "webpay");
            service.change(&id, change, Sending::default());
            let sent = service.wait_for_sent(earlier + 1).pop().expect("a callback");
            assert_eq!((sent.attempt, sent.answer), (1, Ok(200)));
            let Heard { key, mut body } = portal.heard.lock().last().cloned().expect("a callback");
            assert_eq!((key.as_deref(), &body), (Some(CALLBACK_KEY), &sent.body));
            assert!(DateTime::parse_from_rfc3339(body["timestamp"].take().as_str().expect("text")).is_ok());
            let transaction = format!("TX-{}", id.replace('-', ""));
            let metadata = json!({ "providerTransactionId": transaction, "additionalInfo": {} });
            let expect = json!({
                "paymentId": id, "orderId": "order-1", "status": status, "event": event, "timestamp": null,
                "paymentMethod": "webpay", "metadata": metadata,
            });
            assert_eq!(body, expect);
            let data = get(&service, &id).json()["data"].clone();
            assert_eq!((&data["status"], data["completedAt"].is_null()), (&json!(status), status != "completed"));
        }
    }

    #[test]
    fn the_older_form_has_five_fields_and_no_key_and_says_nothing_of_cancellations() {
        let portal = Portal::answering(&[]);
        let service = calling_back(&portal);
        let older = Sending { form: Form::Older, ..Sending::default() };
        let id = service.create("order-1", 29.9, "EUR", "webpay");
        service.change(&id, Change::Cancelled, older);
        service.change(&id, Change::Completed, older);
        assert_eq!(service.wait_for_sent(1).len(), 1);
        let heard = portal.heard.lock().clone();
        let fields: Vec<_> = heard[0].body.as_object().expect("an object").keys().collect();
        assert_eq!(fields, ["event", "orderId", "paymentId", "status", "timestamp"]);
        assert_eq!((heard.len(), heard[0].key.as_deref(), &heard[0].body["status"]), (1, None, &json!("completed")));
    }

    #[test]
    fn only_the_documented_form_repeats_and_never_after_a_4xx() {
        // The last one ends last: an attempt too many of the others would have come before.
        let cases = [
            (Form::Documented, [404].as_slice(), vec![(1, Ok(404))]),
            (Form::Documented, &[302], vec![(1, Ok(302))]),
            (Form::Older, &[503], vec![(1, Ok(503))]),
            (Form::Documented, &[503], vec![(1, Ok(503)), (2, Ok(200))]),
        ];
        let began = Instant::now();
        let services = cases.map(|(form, statuses, expect)| {
            let portal = Portal::answering(statuses);
            let service = calling_back(&portal);
            let id = service.create("order-1", 29.9, "EUR", "webpay");
            service.change(&id, Change::Completed, Sending { form, ..Sending::default() });
            (portal, service, expect)
        });
        for (portal, service, expect) in services.iter().rev() {
            let sent = service.wait_for_sent(expect.len()).into_iter().map(|sent| (sent.attempt, sent.answer));
            assert_eq!(sent.collect::<Vec<_>>(), *expect);
            let bodies = portal.bodies();
            assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
        }
        assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[test]
    fn it_repeats_when_there_is_no_answer() {
        let portal = Portal::answering(&[]);
        let service = calling_back(&portal);
        portal.server.stop();
        let id = service.create("order-1", 29.9, "EUR", "webpay");
        service.change(&id, Change::Completed, Sending::default());
        assert!(service.wait_for_sent(1)[0].answer.is_err());
        portal.server.restart();
        assert_eq!(service.wait_for_sent(2)[1].answer, Ok(200));
    }

    #[test]
    fn callbacks_are_duplicated_lost_and_reordered_on_demand() {
        let portal = Portal::answering(&[]);
        let service = calling_back(&portal);
        let id = service.create("order-1", 29.9, "EUR", "webpay");
        service.change(&id, Change::Failed, Sending { delay_ms: 300, ..Sending::default() });
        service.change(&id, Change::Completed, Sending { copies: 3, ..Sending::default() });
        assert_eq!(service.wait_for_sent(4).len(), 4);
        let bodies = portal.bodies();
        let statuses: Vec<_> = bodies.iter().map(|body| body["status"].as_str().unwrap_or_default()).collect();
        assert_eq!(statuses, ["completed", "completed", "completed", "failed"]);
        let mut timestamps: Vec<_> = bodies[..3].iter().map(|body| body["timestamp"].as_str()).collect();
        timestamps.sort_unstable();
        timestamps.dedup();
        assert_eq!(timestamps.len(), 3);
        service.change(&id, Change::Refunded, Sending { copies: 0, ..Sending::default() });
        assert_eq!((status(&service, &id), service.sent().len()), (json!("refunded"), 4));
    }

    #[test]
    fn changes_can_be_made_over_http() {
        let portal = Portal::answering(&[]);
        let service = calling_back(&portal);
        let id = service.create("order-1", 29.9, "EUR", "webpay");
        let post = |target: &str| exchange(&service, &Sent::post(target)).status;
        assert_eq!(post(&format!("/payments/{id}/complete?copies=2&delay_ms=1&form=older")), 202);
        assert_eq!(service.wait_for_sent(2).len(), 2);
        assert!(portal.heard.lock().iter().all(|heard| heard.key.is_none()));
        for change in ["fail", "cancel", "refund", "refund-partially"] {
            assert_eq!(post(&format!("/payments/{id}/{change}?copies=0")), 202, "{change}");
        }
        for query in ["copies=256", "copies=x", "delay_ms=-1", "form=other", "others=1"] {
            assert_eq!(post(&format!("/payments/{id}/complete?{query}")), 400, "{query}");
        }
        for unknown in [format!("/payments/{id}/explode"), "/payments/abc/complete".to_owned(), "/".to_owned()] {
            assert_eq!(post(&unknown), 404, "{unknown}");
        }
    }

    #[test]
    fn a_rule_decides_what_it_answers() {
        let service = PaymentsService::start(KEY).expect("a service");
        let (odd, proper) = (service.create("a", 1.0, "EUR", "payu"), service.create("b", 1.0, "EUR", "payu"));
        let ruled = odd.clone();
        service.answers(move |id| (id == ruled).then(|| json_answer(200, &json!({ "data": { "status": "odd" } }))));
        assert_eq!((status(&service, &odd), status(&service, &proper)), (json!("odd"), json!("processing")));
        service.behaviour(Behaviour::Answering(502));
        assert_eq!(get(&service, &proper).status, 502);
    }

    #[test]
    fn callbacks_need_an_http_url() {
        let service = PaymentsService::start(KEY).expect("a service");
        for url in ["https://portal.example/", "portal.example", "/webhook", ""] {
            assert!(service.calls_back(url, CALLBACK_KEY).is_err(), "{url}");
        }
    }
}
