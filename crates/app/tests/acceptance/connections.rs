//! Connections: kept open, given up, shared by many requests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use simulator::{Connection, Request};

use crate::authentication::{OTHER_SECRET, SECRET, now, signed};
use crate::metrics::figures;
use crate::test_app::{
    PAYMENT_KEY, PORTAL_KEY, PROGRAM, Store, TestApp, WEBHOOK, assert_problem, assert_settled, callback, folder,
    notification, register, registration, serve_with,
};

on_both_stores! {
    a_connection_serves_many_requests,
    a_refused_body_does_not_break_the_next_request,
    requests_may_be_sent_ahead,
    a_client_that_hangs_up_is_settled_all_the_same,
    a_client_that_hangs_up_while_the_ledger_is_busy_is_settled_all_the_same,
    half_a_request_changes_nothing,
    a_body_that_never_comes_is_answered_by_the_deadline,
    an_idle_connection_stays_open_for_as_long_as_is_set,
    a_head_that_does_not_end_is_given_up_without_an_answer,
    a_client_that_does_not_read_its_answers_is_given_up,
    an_offer_to_upgrade_the_connection_is_ignored,
    a_body_ends_where_its_framing_says_whatever_is_offered,
    a_body_whose_chunks_are_malformed_is_refused_at_once,
    what_the_http_library_refuses_by_itself_is_logged_and_counted,
    the_longest_idle_connection_makes_room_for_a_new_one,
}

fn connect(app: &TestApp) -> Connection {
    app.service.connect().expect("a connection")
}

fn a_connection_serves_many_requests(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let mut connection = connect(&app);
    for index in 0..50 {
        let answer = connection.exchange(&callback(&notification("p", "o", "completed"))).expect("an answer");
        assert_settled(&answer, if index == 0 { "completed" } else { "duplicate" });
        assert_problem(&connection.exchange(&callback(&"broken".into())).expect("an answer"), 400, "invalid_payload");
        assert_eq!(connection.exchange(&Request::get("/healthz")).expect("an answer").status, 200);
    }
}

fn a_refused_body_does_not_break_the_next_request(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let post = |key: &str, size: usize| Request::post(WEBHOOK).key(key).json("x".repeat(size));
    let form = |size: usize| {
        Request::post(WEBHOOK).key(PAYMENT_KEY).header("Content-Type", "text/plain").body("x".repeat(size))
    };
    for (request, status) in [
        (post("wrong", 10), 401),
        (post("wrong", 10_000), 401),
        (post("wrong", 200_000), 401),
        (post(PAYMENT_KEY, 70_000), 413),
        (post(PAYMENT_KEY, 200_000), 413),
        (form(10_000), 415),
        (form(200_000), 415),
        (Request::new("PUT", WEBHOOK).json("x".repeat(200_000)), 405),
        (Request::post("/nowhere").json("x".repeat(200_000)), 404),
    ] {
        let mut connection = connect(&app);
        let refused = connection.exchange(&request).expect("an answer, however large the body was");
        assert_eq!(refused.status, status);
        if refused.header("connection") == Some("close") {
            connection.closed().expect("a connection that ends after the answer");
            connection = connect(&app);
        }
        let next = connection.exchange(&callback(&notification("p", "o", "completed"))).expect("an answer");
        assert_eq!(next.status, 200, "after {status}");
    }
    app.assert_order("o", "paid", Some("p"));
}

fn requests_may_be_sent_ahead(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let mut connection = connect(&app);
    let statuses = ["processing", "failed", "completed", "failed"];
    let requests = statuses.map(|status| callback(&notification("p", "o", status)).bytes());
    connection.send(&requests.concat()).expect("an open connection");
    for outcome in ["processing", "failed", "completed", "ignored"] {
        assert_settled(&connection.receive().expect("an answer"), outcome);
    }
}

fn a_client_that_hangs_up_is_settled_all_the_same(store: Store) {
    const CLIENTS: usize = 40;
    let app = TestApp::open(store);
    for index in 0..CLIENTS {
        app.expect_payment(&format!("p{index}"), &format!("o{index}"));
    }
    for index in 0..CLIENTS {
        let request = callback(&notification(&format!("p{index}"), &format!("o{index}"), "completed"));
        connect(&app).send(&request.bytes()).expect("an open connection");
    }
    let settled = app.service.wait_for_records(CLIENTS, |record| record["outcome"] == "completed");
    assert_eq!(settled.len(), CLIENTS);
    for index in 0..CLIENTS {
        app.assert_order(&format!("o{index}"), "paid", Some(&format!("p{index}")));
    }
}

fn a_client_that_hangs_up_while_the_ledger_is_busy_is_settled_all_the_same(store: Store) {
    let app = TestApp::with(store, &[("RESPONSE_DEADLINE_MS", "60000")]);
    for index in 0..6 {
        app.expect_payment(&format!("p{index}"), &format!("o{index}"));
    }
    let held = app.store.hold();
    let send = |index| {
        let mut connection = connect(&app);
        let request = callback(&notification(&format!("p{index}"), &format!("o{index}"), "completed"));
        connection.send(&request.bytes()).expect("an open connection");
        connection
    };
    let waiting: Vec<_> = (0..6).map(send).collect();
    thread::sleep(Duration::from_millis(300));
    for (index, connection) in waiting.into_iter().enumerate() {
        if index % 2 == 0 {
            connection.reset().expect("a connection that can be given up");
        }
    }
    thread::sleep(Duration::from_millis(300));
    drop(held);
    let settled = app.service.wait_for_records(6, |record| record["outcome"] == "completed");
    assert_eq!(settled.len(), 6);
    for index in 0..6 {
        app.assert_order(&format!("o{index}"), "paid", Some(&format!("p{index}")));
    }
}

fn half_a_request_changes_nothing(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let bytes = callback(&notification("p", "o", "completed")).bytes();
    for length in [10, bytes.len() / 2, bytes.len() - 1] {
        connect(&app).send(&bytes[..length]).expect("an open connection");
    }
    assert_settled(&app.callback(&notification("p", "o", "failed")), "failed");
    app.assert_order("o", "pending", None);
}

fn a_body_that_never_comes_is_answered_by_the_deadline(store: Store) {
    let app = TestApp::with(store, &[("RESPONSE_DEADLINE_MS", "500")]);
    let mut connection = connect(&app);
    let bytes = callback(&notification("p", "o", "completed")).bytes();
    connection.send(&bytes[..bytes.len() - 10]).expect("an open connection");
    assert_problem(&connection.receive().expect("an answer"), 503, "unavailable");
    assert_eq!(app.send(&Request::get("/healthz")).status, 200);
}

/// The upstream loses a notification whose connection is closed under it, is quiet for seconds at a time, and takes an
/// answer that nothing was asked for as final.
fn an_idle_connection_stays_open_for_as_long_as_is_set(store: Store) {
    let patient = TestApp::open(store);
    patient.expect_payment("p", "o");
    let impatient = TestApp::with(Store::sqlite(), &[("KEEP_ALIVE_S", "1")]);
    let healthy = Request::get("/healthz");
    let mut unused = [&patient, &impatient].map(connect);
    let mut used = [&patient, &impatient].map(connect);
    for connection in &mut used {
        assert_eq!(connection.exchange(&healthy).expect("an answer").status, 200);
    }
    thread::sleep(Duration::from_secs(7));
    for ([kept, closed], outcome) in [(&mut unused, "completed"), (&mut used, "duplicate")] {
        let answer = kept.exchange(&callback(&notification("p", "o", "completed"))).expect("an answer");
        assert_settled(&answer, outcome);
        closed.closed().expect("a connection that ends without a word");
    }
}

fn a_head_that_does_not_end_is_given_up_without_an_answer(store: Store) {
    let app = TestApp::with(store, &[("KEEP_ALIVE_S", "1")]);
    let mut connection = connect(&app);
    connection.send(b"POST /api/payments/webhook HTTP/1.1\r\nX-Slow: ").expect("an open connection");
    let begun = Instant::now();
    while connection.send(b"x").is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "what trickles in keeps it open");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

fn a_client_that_does_not_read_its_answers_is_given_up(store: Store) {
    let app = TestApp::with(store, &[("KEEP_ALIVE_S", "1")]);
    let mut connection = connect(&app);
    let page = Request::get("/docs/swagger-ui-bundle.js").bytes();
    for _ in 0..30 {
        connection.send(&page).expect("an open connection");
    }
    wait_for(&app, "http_connections", |open| open == 1.0);
}

/// Proxies offer it with every request. A server may ignore it (RFC 9110, section 7.8).
fn an_offer_to_upgrade_the_connection_is_ignored(store: Store) {
    let settings = [("WEBHOOK_AUTH", "both"), ("PAYMENT_WEBHOOK_SECRET", SECRET)];
    let app = TestApp::with(store, &settings);
    let completed = notification("p", "o", "completed").to_string();
    for (request, status) in [
        (register(&registration("p", "o")), 201),
        (signed(&completed, SECRET, now()).key(PAYMENT_KEY), 200),
        (signed(&completed, SECRET, now()).key("wrong"), 401),
        (signed(&completed, OTHER_SECRET, now()).key(PAYMENT_KEY), 401),
        (Request::post(WEBHOOK).key(PAYMENT_KEY).json("x".repeat(70_000)), 401),
        (Request::post("/api/orders/o/cancel").key(PORTAL_KEY), 409),
        (Request::post("/api/payments").key(PORTAL_KEY).header("Content-Type", "application/json"), 400),
        (Request::get("/healthz"), 200),
    ] {
        for upgrade in ["websocket", "h2c"] {
            let request = request.clone().header("Upgrade", upgrade).header("Connection", "Upgrade");
            let mut connection = connect(&app);
            let answer = connection.exchange(&request).expect("an answer");
            let again = if status == 201 && upgrade == "h2c" { 200 } else { status };
            assert_eq!((answer.status, answer.header("connection")), (again, Some("close")), "{}", answer.json());
            connection.closed().expect("a connection that ends after the answer");
        }
    }
    app.assert_order("o", "paid", Some("p"));
}

fn a_body_ends_where_its_framing_says_whatever_is_offered(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let completed = notification("p", "o", "completed").to_string();
    let head = format!("POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nX-API-Key: {PAYMENT_KEY}\r\nUpgrade: websocket\r\n");
    let head = format!("{head}Content-Type: application/json\r\n");
    let sized = format!("{head}Content-Length: {}\r\n\r\n{completed}POST /api", completed.len());
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{completed}\r\n0\r\n\r\n", completed.len());
    for (bytes, outcome) in [(sized, "completed"), (chunked, "duplicate")] {
        assert_settled(&app.service.replay(bytes.as_bytes()).expect("an answer"), outcome);
    }
}

fn a_body_whose_chunks_are_malformed_is_refused_at_once(store: Store) {
    let app = TestApp::open(store);
    for (target, key) in [(WEBHOOK, PAYMENT_KEY), ("/api/payments", PORTAL_KEY)] {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n"
        );
        for malformed in ["zz\r\n", "-1\r\n", "11111111111111111\r\n", "2\r\n{}}}\r\n", "\r\n"] {
            let at_once = app.service.replay(format!("{head}{malformed}").as_bytes());
            assert_problem(&at_once.expect("an answer"), 400, "invalid_payload");
            let mut connection = connect(&app);
            connection.send(head.as_bytes()).expect("an open connection");
            thread::sleep(Duration::from_millis(50));
            connection.send(malformed.as_bytes()).expect("an open connection");
            assert_problem(&connection.receive().expect("an answer"), 400, "invalid_payload");
            connection.closed().expect("a connection that ends after the answer");
        }
    }
}

fn what_the_http_library_refuses_by_itself_is_logged_and_counted(store: Store) {
    let app = TestApp::open(store);
    let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(140_000));
    for (bytes, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (&large, 431),
    ] {
        let answer = app.service.replay(bytes.as_bytes()).expect("an answer");
        assert_eq!((answer.status, answer.header("connection"), &*answer.body), (status, Some("close"), &b""[..]));
    }
    let refused = |record: &Value| record["message"] == "request refused: its head cannot be read";
    let records = app.service.wait_for_records(4, refused);
    let mut statuses: Vec<_> = records.iter().map(|record| record["http_status"].as_u64()).collect();
    // Each is logged by the thread of its connection, after the answer.
    statuses.sort_unstable();
    assert_eq!(statuses, [400, 400, 400, 431].map(Some));
    let figures = figures(&app);
    let count = |status| {
        let labels = format!("{{method=\"other\",route=\"none\",status=\"{status}\"}}");
        figures.get(&format!("payment_callback_http_requests_total{labels}")).copied()
    };
    assert_eq!([400, 431].map(count), [Some(3.0), Some(1.0)]);
}

/// A shell or systemd gives 1,024 files, and allows more.
fn the_longest_idle_connection_makes_room_for_a_new_one(store: Store) {
    const FILES: usize = 400;
    let folder = folder();
    let program = folder.path().join("with-few-files");
    let script = format!("#!/bin/sh\nulimit -S -n 64 && ulimit -H -n {FILES} && exec '{PROGRAM}' \"$@\"\n");
    fs::write(&program, script).expect("a script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("a script that runs");
    let app = TestApp { service: serve_with(&program, &store.url(), &[]), store };
    app.expect_payment("p", "o");
    let limit = figures(&app)["payment_callback_http_connections_limit"];
    assert!(limit >= 64.0, "more than the soft limit alone would leave: {limit}");

    let mut idle: Vec<_> = (0..FILES).map(|_| connect(&app)).collect();
    assert_settled(&app.callback(&notification("p", "o", "completed")), "completed");
    let mut newest = idle.pop().expect("a connection");
    assert_eq!(newest.exchange(&Request::get("/healthz")).expect("an answer").status, 200);
    idle.remove(0).closed().expect("a connection that ends without a word");
    let figures = figures(&app);
    assert!(figures["payment_callback_http_connections"] <= limit + 1.0, "{figures:#?}");
    let closed = figures["payment_callback_http_connections_closed_for_room_total"];
    assert!(closed >= FILES as f64 - limit, "{closed}");
}

/// Waits until this figure is as it should be.
#[track_caller]
fn wait_for(app: &TestApp, name: &str, right: impl Fn(f64) -> bool) {
    let begun = Instant::now();
    while !right(figures(app)[&format!("payment_callback_{name}")]) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{name} is not as it should be");
        thread::sleep(Duration::from_millis(100));
    }
}
