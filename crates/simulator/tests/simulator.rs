//! The stand-ins as programs.

use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::SystemTime;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use simulator::{Behaviour, Connection, EVENTS_PATH, Request, Response, Server, empty_answer};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SIGNED: [(&str, &str); 1] = [("PORTAL_EVENTS_SECRET", SECRET)];

/// A running stand-in. It is killed when this value is dropped.
struct StandIn {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simulator"));
    command.args(arguments).env_clear().env("BIND_ADDRESS", "127.0.0.1:0").envs(environment.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl StandIn {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = command(arguments, environment).spawn().expect("a process");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = lines.next().expect("a line").expect("text");
        let (_, url) = line.split_once(" listening at http://").expect("where it listens");
        let address = url.split('/').next().unwrap_or_default().parse().expect("an address");
        Self { child, lines, address }
    }

    /// The answer; its body is not read.
    fn send(&self, request: &Request) -> Response {
        let mut connection = Connection::open(self.address).expect("a connection");
        connection.send(&request.bytes()).expect("an open connection");
        connection.receive_head().expect("an answer")
    }

    fn exchange(&self, request: &Request) -> Response {
        Connection::open(self.address).expect("a connection").exchange(request).expect("an answer")
    }

    /// The next line without its time.
    fn line(&mut self) -> String {
        let line = self.lines.next().expect("a line").expect("text");
        line.split_once(' ').expect("a time and a text").1.to_owned()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn paid(secret: &str, id: &str) -> Request {
    let body = json!({
        "type": "order.paid", "timestamp": "2026-01-02T03:04:05.678Z",
        "data": { "orderId": "order\n1", "paymentId": "payment-1" },
    });
    let body = body.to_string();
    #[expect(clippy::disallowed_methods, reason = "the receiver compares with the clock")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970").as_secs();
    let webhook = Webhook::new(secret).expect("a secret");
    let signature = webhook.sign(id, now.try_into().expect("a near time"), body.as_bytes()).expect("a signature");
    Request::post(EVENTS_PATH)
        .header(HEADER_WEBHOOK_ID, id)
        .header(HEADER_WEBHOOK_TIMESTAMP, &now.to_string())
        .header(HEADER_WEBHOOK_SIGNATURE, &signature)
        .json(body)
}

#[test]
fn the_portal_prints_each_event_in_a_line() {
    let mut portal = StandIn::start(&["portal"], &[("PORTAL_EVENTS_SECRET", &format!("{OTHER_SECRET} {SECRET}"))]);
    assert_eq!(portal.send(&paid(SECRET, "evt-1")).status, 204);
    let expect = "order.paid order=order 1 payment=payment-1 event=evt-1 attempt=1, verified: 204";
    assert_eq!(portal.line(), expect);
    assert_eq!(portal.send(&paid("whsec_AAAA", "evt-2")).status, 401);
    assert_eq!(portal.line(), "refused, signature invalid: 401");
}

#[test]
fn the_portal_fails_as_it_is_told() {
    let answers = |arguments: &[&str]| {
        let portal = StandIn::start(&[["portal"].as_slice(), arguments].concat(), &SIGNED);
        let answer = |_| portal.send(&paid(SECRET, "evt-1"));
        let answers = [1, 2, 3].map(answer);
        let retry_after = answers[0].header("retry-after").map(str::to_owned);
        (answers.map(|answer| answer.status), retry_after)
    };
    assert_eq!(answers(&["--fail", "2"]), ([500, 500, 204], None));
    assert_eq!(answers(&["--answer", "410"]), ([410; 3], None));
    let busy = answers(&["--answer", "429", "--retry-after", "7", "--fail", "1", "--slow-ms", "10"]);
    assert_eq!(busy, ([429, 204, 204], Some("7".to_owned())));
}

#[test]
fn the_portal_hangs_as_it_is_told() {
    let mut portal = StandIn::start(&["portal", "--hang"], &SIGNED);
    let mut connection = Connection::open(portal.address).expect("a connection");
    connection.send(&paid(SECRET, "evt-1").bytes()).expect("an open connection");
    let expect = "order.paid order=order 1 payment=payment-1 event=evt-1 attempt=1, verified: not answered";
    assert_eq!(portal.line(), expect);
    drop(portal);
    assert!(connection.receive_head().is_err());
}

#[test]
fn payments_are_made_changed_and_called_back() {
    let with_the_first_key = |request: http::Request<Vec<u8>>| {
        let is_right = request.headers().get("x-api-key").is_some_and(|key| key == "key-1");
        empty_answer(if is_right { 200 } else { 401 }, &[])
    };
    let service = Server::start(with_the_first_key, Behaviour::Proper).expect("a server");
    let callback_url = service.url() + "/api/payments/webhook";
    let keys = [("PAYMENT_SERVICE_API_KEY", "upstream-key-1"), ("PAYMENT_API_KEY", "key-1, key-2")];
    let mut payments = StandIn::start(&["payments", "--callback-url", &callback_url], &keys);
    let new = json!({ "orderId": "order-1", "amount": "29.90", "currency": "EUR", "paymentMethod": "webpay" });
    let made = payments.exchange(&Request::post("/payments/create").key("upstream-key-1").json(new.to_string()));
    assert_eq!((made.status, payments.line().as_str()), (201, "POST /payments/create: 201"));
    let made = made.json();
    let id = made["data"]["paymentId"].as_str().expect("an id");

    assert_eq!(payments.exchange(&Request::post(&format!("/payments/{id}/complete"))).status, 202);
    let mut lines = [payments.line(), payments.line()];
    lines.sort();
    assert_eq!(lines[0], format!("POST /payments/{id}/complete: 202"));
    assert_eq!(lines[1], format!("called back: completed/completed order=order-1 payment={id} attempt=1: 200"));

    let answer = payments.exchange(&Request::get(&format!("/payments/{id}")).key("upstream-key-1"));
    assert_eq!((answer.status, &answer.json()["data"]["status"]), (200, &json!("completed")));
}

#[test]
fn logging_prints_messages_and_refusals() {
    let mut logging = StandIn::start(&["logging"], &[]);
    let record = json!({ "level": "info", "message": "callback\nsettled", "service": "payment-callback" });
    let post = |body: String| Request::post("/api/logs").json(body);
    assert_eq!(logging.exchange(&post(record.to_string())).status, 201);
    assert_eq!(logging.line(), "info callback settled");
    assert_eq!(logging.exchange(&post(json!([record]).to_string())).status, 400);
    assert_eq!(logging.line(), "refused, one object is needed: 400");
}

#[test]
fn a_signal_ends_it_at_once() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut logging = StandIn::start(&["logging"], &[]);
        kill_process(Pid::from_child(&logging.child), signal).expect("a running process");
        assert_eq!(logging.child.wait().expect("a status").code(), Some(0), "{signal:?}");
    }
}

#[test]
fn a_bad_or_missing_setting_is_named() {
    let upstream = ("PAYMENT_SERVICE_API_KEY", "upstream-key-1");
    for (arguments, environment, name) in [
        (["portal"].as_slice(), [].as_slice(), "PORTAL_EVENTS_SECRET"),
        (&["payments"], &[], "PAYMENT_SERVICE_API_KEY"),
        (&["payments", "--callback-url", "http://127.0.0.1:1/"], &[upstream], "PAYMENT_API_KEY"),
        (&["payments", "--callback-url", "portal"], &[upstream, ("PAYMENT_API_KEY", "key-1")], "http://"),
        (&["portal", "--answer", "99"], &SIGNED, "--answer"),
        (&["portal", "--hang", "--fail", "1"], &SIGNED, "--fail"),
    ] {
        let mut child = command(arguments, environment).spawn().expect("a process");
        let status = child.wait().expect("a status");
        let mut complaint = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut complaint).expect("text");
        assert!(status.code() == Some(2) && complaint.contains(name), "{status} {complaint}");
    }
}
