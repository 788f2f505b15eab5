//! The central logging service: it gets every record, and whatever it does, callbacks are answered as ever
//! (contract §2, neighbours.md).

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use simulator::{Behaviour, Connection, LoggingService, Request};

use crate::test_app::{
    PORTAL_KEY, Store, TestApp, assert_settled, callback, command, folder, notification, register, registration, with,
};

/// What the contract promises of the end.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// What is said of losses.
const DROPPED: &str = "log records were dropped";

/// The service with a central logging service beside it.
struct Logged {
    app: TestApp,
    central: LoggingService,
}

impl Logged {
    fn open() -> Self {
        Self::with(&[])
    }

    fn with(settings: &[(&str, &str)]) -> Self {
        let central = LoggingService::start().expect("a logging service");
        let app = TestApp::with(Store::sqlite(), &[&[("LOGGING_SERVICE_URL", &*central.url())], settings].concat());
        Self { app, central }
    }

    /// Everything that callers may do is answered as it is without such a service, and without delay.
    #[track_caller]
    fn assert_answers(&self, payments: impl IntoIterator<Item = usize>) {
        for payment in payments {
            let (payment, order) = (format!("p{payment}"), format!("o{payment}"));
            let began = Instant::now();
            self.app.expect_payment(&payment, &order);
            assert_settled(&self.app.callback(&notification(&payment, &order, "completed")), "completed");
            assert_eq!(self.app.callback(&json!({})).status, 400);
            assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        }
    }

    /// The records on stdout, but for those on the log itself, as the central service is to get them, sorted.
    fn written(&self) -> Vec<String> {
        let records = self.app.service.records();
        sorted(records.iter().filter(|record| record["message"] != DROPPED).map(in_central_form))
    }

    /// What the central service has got, sorted. One whose answer was lost may arrive twice.
    fn delivered(&self) -> Vec<String> {
        let mut delivered = sorted(self.central.records());
        delivered.dedup();
        delivered
    }

    /// The losses that stdout tells of.
    fn losses(&self) -> Vec<Value> {
        let mut records = self.app.service.records();
        records.retain(|record| record["message"] == DROPPED);
        assert!(records.iter().all(|loss| loss["destination"] == "central" && loss["level"] == "warn"), "{records:#?}");
        records
    }

    fn lost(&self) -> u64 {
        self.losses().iter().filter_map(|loss| loss["count"].as_u64()).sum()
    }

    /// How many records have not arrived: those that it made before the service misbehaved have.
    fn undelivered(&self) -> u64 {
        (self.written().len() - self.delivered().len()) as u64
    }

    #[track_caller]
    fn stop(&mut self) -> Duration {
        let stopped = self.app.service.stop().expect("an end");
        assert_eq!(stopped.code, Some(0));
        assert!(stopped.took < STOPS_WITHIN, "{stopped:?}");
        assert_eq!(self.app.service.lines().len(), self.app.service.records().len());
        stopped.took
    }

    /// Makes so many records, as fast as it can.
    fn make_records(&self, count: usize) {
        const AT_A_TIME: usize = 500;
        let mut connection = self.app.service.connect().expect("a connection");
        let request = callback(&json!({})).bytes();
        let before = self.app.service.records().len();
        while self.app.service.records().len() < before + count {
            connection.send(&request.repeat(AT_A_TIME)).expect("an open connection");
            (0..AT_A_TIME).for_each(|_| assert_eq!(connection.receive().expect("an answer").status, 400));
        }
    }
}

fn in_central_form(record: &Value) -> Value {
    let mut metadata = record.as_object().expect("an object").clone();
    let mut form = json!({});
    for name in ["level", "message", "service", "timestamp", "correlation_id", "duration_ms"] {
        if let Some(value) = metadata.remove(name) {
            form[name] = value;
        }
    }
    if metadata.is_empty() { form } else { with(form, json!({ "metadata": metadata })) }
}

fn sorted(records: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut lines: Vec<_> = records.into_iter().map(|record| record.to_string()).collect();
    lines.sort();
    lines
}

#[test]
fn every_record_on_stdout_arrives_in_the_form_that_is_taken() {
    let mut logged = Logged::with(&[("LOG_LEVEL", "debug"), ("SERVICE_NAME", "callbacks_1-a")]);
    logged.assert_answers(0..10);
    logged.app.get(PORTAL_KEY, "/api/orders/a%0Ab");
    logged.app.post(PORTAL_KEY, "/api/orders/o1/cancel");
    logged.app.send(&Request::get("/healthz").header("X-Request-Id", "traced"));
    logged.stop();
    assert_eq!(logged.central.refusals(), vec![]);
    assert_eq!(logged.delivered(), logged.written());
    assert_eq!(logged.losses(), Vec::<Value>::new());
    let records = logged.central.records();
    let traced = records.iter().find(|record| record["correlation_id"] == "traced").expect("a record");
    assert!(traced["duration_ms"].is_number() && traced["metadata"]["route"] == "/healthz", "{traced}");
    let messages: Vec<_> = records.iter().filter_map(|record| record["message"].as_str()).collect();
    assert!(["starting", "listening", "stopping", "stopped"].iter().all(|message| messages.contains(message)));
}

#[test]
fn nothing_goes_anywhere_without_its_url() {
    let central = LoggingService::start().expect("a logging service");
    let mut app = TestApp::with(Store::sqlite(), &[("LOGGING_SERVICE_URL", ""), ("SERVICE_NAME", "my-application")]);
    app.callback(&json!({}));
    assert_eq!(app.service.stop().expect("an end").code, Some(0));
    assert_eq!(central.connections(), 0);
}

#[test]
fn the_url_may_have_a_path_of_its_own() {
    let central = LoggingService::start().expect("a logging service");
    for (base, path) in [("/", ""), ("/api", "/logs"), ("/api/", "/logs")] {
        let url = format!("{}{base}", central.url());
        let settings = [("LOGGING_SERVICE_URL", &*url), ("LOGGING_SERVICE_API_PATH", path)];
        let mut app = TestApp::with(Store::sqlite(), &settings);
        assert_eq!(app.service.stop().expect("an end").code, Some(0));
        assert_eq!((central.records().is_empty(), central.refusals()), (false, vec![]), "{base} {path}");
    }
}

#[test]
fn while_it_is_down_nothing_changes_and_what_waits_is_delivered_when_it_is_back() {
    let mut logged = Logged::open();
    logged.assert_answers(0..2);
    logged.central.stop();
    logged.assert_answers(2..40);
    thread::sleep(Duration::from_millis(500));
    logged.central.restart();
    logged.assert_answers(40..42);
    let wanted =
        |record: &Value| record["metadata"]["payment_id"] == "p39" && record["message"] == "notification settled";
    let _ = logged.central.wait_for_records(1, wanted);
    logged.stop();
    assert_eq!((logged.delivered(), logged.losses()), (logged.written(), vec![]));
}

#[test]
fn a_start_does_not_wait_for_it() {
    let central = LoggingService::start().expect("a logging service");
    central.stop();
    let mut app = TestApp::with(Store::sqlite(), &[("LOGGING_SERVICE_URL", &*central.url())]);
    central.restart();
    let _ = central.wait_for_records(1, |record| record["message"] == "starting");
    assert_eq!(app.service.stop().expect("an end").code, Some(0));
}

#[test]
fn while_it_hangs_nothing_changes_and_the_end_comes_in_time() {
    let mut logged = Logged::open();
    logged.central.behaviour(Behaviour::Hanging);
    logged.assert_answers(0..40);
    logged.stop();
    let undelivered = logged.undelivered();
    assert_eq!(logged.lost(), undelivered, "all are told of");
    assert_eq!(logged.app.service.records().last(), logged.losses().last(), "that is the last word");
    assert!(undelivered > 160);
}

#[test]
fn while_it_fails_or_is_slow_nothing_changes_and_what_waits_is_delivered_afterwards() {
    for behaviour in [Behaviour::Answering(500), Behaviour::Answering(429), Behaviour::Slow(Duration::from_millis(200))]
    {
        let mut logged = Logged::open();
        logged.central.behaviour(behaviour);
        logged.assert_answers(0..20);
        logged.central.behaviour(Behaviour::Proper);
        let wanted = |record: &Value| record["metadata"]["payment_id"] == "p19";
        let _ = logged.central.wait_for_records(1, wanted);
        logged.stop();
        assert_eq!((logged.delivered(), logged.losses()), (logged.written(), vec![]), "{behaviour:?}");
    }
}

#[test]
fn what_it_refuses_is_told_of_on_stdout_alone() {
    let mut logged = Logged::open();
    logged.central.behaviour(Behaviour::Answering(400));
    logged.assert_answers(0..20);
    logged.stop();
    let undelivered = logged.undelivered();
    let refused: u64 = logged.losses().iter().filter_map(|loss| loss["refused"].as_u64()).sum();
    assert_eq!((logged.lost(), refused), (undelivered, undelivered));
    assert_eq!(logged.central.requests(), logged.written().len(), "each was offered once");
    assert!(logged.losses().iter().all(|loss| loss["error"] == "answered 400 Bad Request"));
    assert!(logged.losses().len() <= 3, "{:#?}", logged.losses());
}

#[test]
fn a_stale_connection_loses_nothing() {
    for behaviour in [Behaviour::Crossing, Behaviour::HangingUp] {
        let mut logged = Logged::open();
        logged.central.behaviour(behaviour);
        logged.assert_answers(0..20);
        logged.central.behaviour(Behaviour::Proper);
        logged.stop();
        assert_eq!((logged.delivered(), logged.losses()), (logged.written(), vec![]), "{behaviour:?}");
    }
}

#[test]
fn an_idle_connection_that_it_closes_loses_nothing() {
    let mut logged = Logged::open();
    logged.assert_answers(0..1);
    // The real one closes it after 5 s.
    thread::sleep(Duration::from_millis(5500));
    logged.assert_answers(1..2);
    logged.stop();
    assert_eq!((logged.delivered(), logged.losses()), (logged.written(), vec![]));
}

#[test]
fn no_more_than_ten_thousand_records_wait_for_it() {
    let mut logged = Logged::open();
    logged.central.behaviour(Behaviour::Hanging);
    logged.make_records(14_000);
    let loss = &logged.app.service.wait_for_records(1, |record| record["message"] == DROPPED)[0];
    assert!(loss["error"].is_string(), "{loss}");
    logged.assert_answers(0..5);
    logged.central.behaviour(Behaviour::Proper);
    let _ = logged.central.wait_for_records(10_000, |_| true);
    logged.stop();
    let (written, delivered) = (logged.written(), logged.delivered());
    assert_eq!(logged.lost(), logged.undelivered());
    assert!(written.len() > 14_000 && delivered.len() >= 10_000, "{} {}", written.len(), delivered.len());
    assert!(logged.lost() > 2000, "{:#?}", logged.losses());
    assert!(logged.losses().len() < 10, "{:#?}", logged.losses());
}

#[test]
fn the_end_comes_in_time_even_if_nothing_answers() {
    // Whoever is in flight would wait for longer than the service may take to stop.
    let mut logged = Logged::with(&[("RESPONSE_DEADLINE_MS", "60000")]);
    logged.app.expect_payment("p", "o");
    logged.central.behaviour(Behaviour::Hanging);
    let held = logged.app.store.hold();
    let mut open: Vec<Connection> = Vec::new();
    for request in [callback(&notification("p", "o", "completed")), register(&registration("p2", "o2"))] {
        let mut connection = logged.app.service.connect().expect("a connection");
        connection.send(&request.bytes()).expect("an open connection");
        open.push(connection);
    }
    thread::sleep(Duration::from_millis(300));
    logged.stop();
    drop((held, open));
}

#[test]
fn a_reader_of_stdout_that_stands_still_does_not_keep_it_from_ending() {
    let (folder, central) = (folder(), LoggingService::start().expect("a logging service"));
    central.behaviour(Behaviour::Hanging);
    // Nobody reads this pipe, and it is full.
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let full = writer.try_clone().expect("a pipe");
    let filling = thread::spawn(move || writer.write_all(&[b'\n'; 1 << 20]));
    thread::sleep(Duration::from_millis(200));
    let address = free_address();
    let mut child = Command::new(crate::test_app::PROGRAM)
        .arg("serve")
        .current_dir(folder.path())
        .env_clear()
        .envs([("PAYMENT_API_KEY", "k"), ("LOGGING_SERVICE_URL", &central.url()), ("BIND_ADDRESS", &address)])
        .stdout(Stdio::from(full))
        .spawn()
        .expect("a process");
    let answered = |began: Instant| {
        let address: SocketAddr = address.parse().expect("an address");
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "it does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Connection::open(address)?.exchange(&Request::get("/healthz"))
    };
    assert_eq!(answered(Instant::now()).expect("an answer").status, 200);
    let told = Instant::now();
    kill_process(Pid::from_child(&child), Signal::TERM).expect("a process");
    assert!(child.wait().expect("an end").success());
    assert!(told.elapsed() < STOPS_WITHIN, "{:?}", told.elapsed());
    drop(reader);
    let _ = filling.join();
}

/// An address where nobody listens. Nobody has been there for long, so nobody will be soon.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

#[test]
fn people_can_read_the_log() {
    let logged = Logged::with(&[("LOG_FORMAT", "json")]);
    assert!(!logged.app.service.records().is_empty());
    let (folder, central) = (folder(), LoggingService::start().expect("a logging service"));
    let settings =
        [("PAYMENT_API_KEY", "k"), ("LOG_FORMAT", "pretty"), ("LOGGING_SERVICE_URL", &central.url()), ("NO_COLOR", "")];
    // A port that cannot be had ends it at once.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let ended = command(&folder, &["serve"], &[&settings[..], &[("BIND_ADDRESS", &address)]].concat());
    let shown = String::from_utf8_lossy(&ended.stdout);
    let first = shown.lines().next().unwrap_or_default();
    assert!(first.contains(" INFO  starting, version: ") && first.contains(", database: "), "{shown}");
    assert!(!shown.contains('\x1b') && serde_json::from_str::<Value>(first).is_err(), "{shown}");
    // The central service gets what it always gets.
    assert!(central.records().iter().any(|record| record["message"] == "starting"));
}
