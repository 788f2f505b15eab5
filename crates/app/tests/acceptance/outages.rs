//! The database goes away, is slow, or the program is killed; and comes back.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use simulator::{Connection, Proxy, Request, Response};

use crate::test_app::{
    OPERATOR_KEY, PORTAL_KEY, Store, TestApp, Watched, assert_problem, assert_settled, callback, command, folder,
    notification, register, registration, serve, word,
};

on_both_stores! {
    what_takes_too_long_is_answered_by_the_deadline_and_safe_to_send_again,
    a_full_intake_says_so_at_once,
    the_trail_of_what_was_answered_survives_a_crash,
}

/// Longer than any answer may take that has to come by a deadline of a second.
const BY_THE_DEADLINE: Duration = Duration::from_secs(4);
const DEADLINE: (&str, &str) = ("RESPONSE_DEADLINE_MS", "1000");

fn assert_unavailable(answer: &Response) -> Value {
    let problem = assert_problem(answer, 503, "unavailable");
    let retry_after: u32 = answer.header("retry-after").and_then(|value| value.parse().ok()).expect("seconds");
    assert!(retry_after >= 1);
    problem
}

fn what_takes_too_long_is_answered_by_the_deadline_and_safe_to_send_again(store: Store) {
    let app = TestApp::with(store, &[DEADLINE]);
    app.expect_payment("p", "o");
    let held = app.store.hold();
    for request in [
        callback(&notification("p", "o", "completed")),
        register(&registration("p2", "o2")),
        Request::post("/api/orders/o/cancel").key(PORTAL_KEY),
    ] {
        let asked = Instant::now();
        assert_unavailable(&app.send(&request));
        assert!(asked.elapsed() < BY_THE_DEADLINE);
    }
    drop(held);
    let again = app.callback(&notification("p", "o", "completed"));
    assert_eq!(again.status, 200, "{}", again.json());
    // What had been given up may have been finished behind the answer; each happened once or not at all.
    let history = app.order("o");
    let status = word(&history["order"]["status"]);
    assert!(["paid", "cancelled"].contains(&&*status), "{status}");
    assert_eq!(history["payments"][0]["status"], "completed");
}

fn a_full_intake_says_so_at_once(store: Store) {
    let app = TestApp::with(store, &[("INTAKE_QUEUE_MAX", "1"), ("RESPONSE_DEADLINE_MS", "60000")]);
    let mut waiting: Vec<(String, Connection)> = Vec::new();
    for index in 0..12 {
        app.expect_payment(&format!("p{index}"), &format!("o{index}"));
    }
    let held = app.store.hold();
    let ready = || app.send(&Request::get("/readyz"));
    // Those who settle are all busy, and one callback waits.
    let one_waits = || {
        let metrics = String::from_utf8(app.send(&Request::get("/metrics")).body).expect("UTF-8");
        metrics.contains("payment_callback_intake_queue_depth 1\n")
    };
    while !one_waits() {
        let index = waiting.len();
        assert!(index < 12, "the intake is never full");
        let mut connection = app.service.connect().expect("a connection");
        let request = callback(&notification(&format!("p{index}"), &format!("o{index}"), "completed"));
        connection.send(&request.bytes()).expect("an open connection");
        waiting.push((format!("p{index}"), connection));
        thread::sleep(Duration::from_millis(100));
    }
    let not_ready = assert_unavailable(&ready());
    assert!(word(&not_ready["detail"]).contains("waiting"), "{not_ready}");
    let refused = notification("p11", "o11", "completed");
    let asked = Instant::now();
    for _ in 0..20 {
        assert_unavailable(&app.callback(&refused));
    }
    assert!(asked.elapsed() < Duration::from_secs(10), "at once, not after the deadline of a minute");
    drop(held);
    for (payment, connection) in &mut waiting {
        assert_settled(&connection.receive().expect("an answer"), "completed");
        assert_eq!(app.outcomes(payment), ["completed"]);
    }
    assert_eq!(ready().status, 200);
    assert_settled(&app.callback(&refused), "completed");
}

fn the_trail_of_what_was_answered_survives_a_crash(store: Store) {
    const SENDERS: usize = 4;
    const EACH: usize = 200;
    let mut app = TestApp::open(store);
    // Registering takes its time: every sender completes one payment, fails another, and so on.
    for sender in 0..SENDERS {
        app.expect_payment(&format!("p{sender}"), &format!("o{sender}"));
    }
    let address = app.service.address();
    let answered: Vec<Vec<String>> = thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                scope.spawn(move || {
                    let mut connection = Connection::open(address).expect("a connection");
                    let mut answered = Vec::new();
                    for index in 0..EACH {
                        let status = if index == 20 { "completed" } else { "processing" };
                        let body = notification(&format!("p{sender}"), &format!("o{sender}"), status);
                        // From some moment on nobody answers.
                        let Ok(answer) = connection.exchange(&callback(&body)) else { break };
                        assert_eq!(answer.status, 200);
                        answered.push(word(&answer.json()["deliveryId"]));
                    }
                    answered
                })
            })
            .collect();
        let settled = |record: &Value| record["message"] == "notification settled";
        let _ = app.service.wait_for_records(SENDERS * 40, settled);
        app.service.kill().expect("a process that can be killed");
        senders.into_iter().map(|sender| sender.join().expect("no panic")).collect()
    });
    app.restart();
    for (sender, answered) in answered.iter().enumerate() {
        assert!(!answered.is_empty() && answered.len() < EACH, "killed in the middle: {}", answered.len());
        let stored = app.deliveries(&format!("?limit=500&payment=p{sender}"));
        let stored: Vec<_> = stored.iter().map(|delivery| word(&delivery["deliveryId"])).collect();
        let lost: Vec<_> = answered.iter().filter(|id| !stored.contains(id)).collect();
        assert!(lost.is_empty(), "answered and lost: {lost:?}");
        // One more may have been stored whose answer was lost.
        assert!(stored.len() <= answered.len() + 1);
        if answered.len() > 20 {
            app.assert_order(&format!("o{sender}"), "paid", Some(&format!("p{sender}")));
        }
        let again = app.callback(&notification(&format!("p{sender}"), &format!("o{sender}"), "completed"));
        assert_eq!(again.status, 200);
    }
}

/// A service whose way to its database can be cut.
struct Remote {
    proxy: Proxy,
    service: Watched,
    _store: Store,
}

impl Remote {
    fn open() -> Self {
        let store = Store::postgres();
        let (url, proxy) = through_proxy(&store);
        let service = serve(&url, &[DEADLINE]);
        let remote = Self { proxy, service, _store: store };
        let answer = remote.send(&register(&registration("p", "o")));
        assert_eq!(answer.status, 201);
        remote
    }

    fn send(&self, request: &Request) -> Response {
        self.service.exchange(request).expect("an answer")
    }

    /// Every route that needs the database says so in time; the process lives.
    fn assert_away(&self) {
        for request in [
            callback(&notification("p", "o", "completed")),
            Request::get("/readyz"),
            Request::get("/api/payments/p").key(PORTAL_KEY),
            Request::get("/api/orders/o").key(PORTAL_KEY),
            Request::post("/api/orders/o2/cancel").key(PORTAL_KEY),
            register(&registration("p2", "o2")),
            Request::get("/api/deliveries").key(OPERATOR_KEY),
            Request::post("/api/deliveries/00000000-0000-7000-8000-000000000000/replay").key(OPERATOR_KEY),
        ] {
            let asked = Instant::now();
            assert_unavailable(&self.send(&request));
            assert!(asked.elapsed() < BY_THE_DEADLINE);
        }
        assert_eq!(self.send(&Request::get("/healthz")).status, 200);
    }

    /// It settles again, without a restart.
    fn assert_recovers(&self) {
        let mended = Instant::now();
        while self.send(&callback(&notification("p", "o", "completed"))).status == 503 {
            assert!(mended.elapsed() < Duration::from_secs(30), "{:#?}", self.service.lines());
            thread::sleep(Duration::from_millis(50));
        }
        while self.send(&Request::get("/readyz")).status == 503 {
            assert!(mended.elapsed() < Duration::from_secs(30), "{:#?}", self.service.lines());
        }
        let order = self.send(&Request::get("/api/orders/o").key(PORTAL_KEY)).json();
        assert_eq!(order["order"]["status"], "paid");
    }
}

fn through_proxy(store: &Store) -> (String, Proxy) {
    let mut url = url::Url::parse(&store.url()).expect("a URL");
    let proxy =
        Proxy::to((url.host_str().expect("a host"), url.port().unwrap_or(5432))).expect("a way to the database");
    url.set_ip_host(proxy.address().ip()).expect("a host that can be set");
    url.set_port(Some(proxy.address().port())).expect("a port that can be set");
    (url.into(), proxy)
}

#[test]
fn a_database_that_refuses_is_waited_for() {
    let remote = Remote::open();
    remote.proxy.refuse();
    remote.assert_away();
    remote.proxy.mend();
    remote.assert_recovers();
}

#[test]
fn a_database_that_hangs_is_waited_for() {
    let remote = Remote::open();
    remote.proxy.hang();
    remote.assert_away();
    remote.proxy.mend();
    remote.assert_recovers();
}

#[test]
fn connections_that_hung_and_are_gone_are_replaced() {
    let remote = Remote::open();
    remote.proxy.hang();
    remote.assert_away();
    remote.proxy.refuse();
    remote.assert_away();
    remote.proxy.mend();
    remote.assert_recovers();
}

#[test]
fn a_start_waits_for_the_database() {
    let store = Store::postgres();
    let (url, proxy) = through_proxy(&store);
    proxy.refuse();
    thread::scope(|scope| {
        let starting = scope.spawn(|| serve(&url, &[]));
        thread::sleep(Duration::from_secs(1));
        assert!(!starting.is_finished());
        proxy.mend();
        let service = starting.join().expect("a service that listens");
        assert_eq!(service.exchange(&Request::get("/readyz")).expect("an answer").status, 200);
    });
}

#[test]
fn a_start_gives_up_when_the_database_does_not_come() {
    let store = Store::postgres();
    let (url, proxy) = through_proxy(&store);
    for cut in [Proxy::refuse, Proxy::hang] {
        cut(&proxy);
        let environment = [("DATABASE_URL", &*url), ("DATABASE_WAIT_S", "1"), ("PAYMENT_API_KEY", "k")];
        let ended = command(&folder(), &["serve"], &environment);
        let error = String::from_utf8(ended.stderr).expect("UTF-8");
        assert_eq!(ended.status.code(), Some(1), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains("DATABASE_URL") && !error.contains("postgres://"), "{error}");
    }
}
