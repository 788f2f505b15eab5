//! Connections: kept open, given up, shared by many requests.

use std::thread;
use std::time::Duration;

use simulator::{Connection, Request};

use crate::stage::{PAYMENT_KEY, Stage, Store, WEBHOOK, assert_problem, assert_settled, callback, notification};

on_both_stores! {
    a_connection_serves_many_requests,
    a_refused_body_does_not_break_the_next_request,
    requests_may_be_sent_ahead,
    a_client_that_hangs_up_is_settled_all_the_same,
    a_client_that_hangs_up_while_the_ledger_is_busy_is_settled_all_the_same,
    half_a_request_changes_nothing,
    a_body_that_never_comes_is_answered_by_the_deadline,
}

fn connect(stage: &Stage) -> Connection {
    stage.service.connect().expect("a connection")
}

fn a_connection_serves_many_requests(store: Store) {
    let stage = Stage::open(store);
    stage.expect_payment("p", "o");
    let mut connection = connect(&stage);
    for index in 0..50 {
        let answer = connection.exchange(&callback(&notification("p", "o", "completed"))).expect("an answer");
        assert_settled(&answer, if index == 0 { "completed" } else { "duplicate" });
        assert_problem(&connection.exchange(&callback(&"broken".into())).expect("an answer"), 400, "invalid_payload");
        assert_eq!(connection.exchange(&Request::get("/healthz")).expect("an answer").status, 200);
    }
}

fn a_refused_body_does_not_break_the_next_request(store: Store) {
    let stage = Stage::open(store);
    stage.expect_payment("p", "o");
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
        let mut connection = connect(&stage);
        let refused = connection.exchange(&request).expect("an answer, however large the body was");
        assert_eq!(refused.status, status);
        if refused.header("connection") == Some("close") {
            connection.closed().expect("a connection that ends after the answer");
            connection = connect(&stage);
        }
        let next = connection.exchange(&callback(&notification("p", "o", "completed"))).expect("an answer");
        assert_eq!(next.status, 200, "after {status}");
    }
    stage.assert_order("o", "paid", Some("p"));
}

fn requests_may_be_sent_ahead(store: Store) {
    let stage = Stage::open(store);
    stage.expect_payment("p", "o");
    let mut connection = connect(&stage);
    let statuses = ["processing", "failed", "completed", "failed"];
    let requests = statuses.map(|status| callback(&notification("p", "o", status)).bytes());
    connection.send(&requests.concat()).expect("an open connection");
    for outcome in ["processing", "failed", "completed", "ignored"] {
        assert_settled(&connection.receive().expect("an answer"), outcome);
    }
}

fn a_client_that_hangs_up_is_settled_all_the_same(store: Store) {
    const CLIENTS: usize = 40;
    let stage = Stage::open(store);
    for index in 0..CLIENTS {
        stage.expect_payment(&format!("p{index}"), &format!("o{index}"));
    }
    for index in 0..CLIENTS {
        let request = callback(&notification(&format!("p{index}"), &format!("o{index}"), "completed"));
        connect(&stage).send(&request.bytes()).expect("an open connection");
    }
    let settled = stage.service.wait_for_records(CLIENTS, |record| record["outcome"] == "completed");
    assert_eq!(settled.len(), CLIENTS);
    for index in 0..CLIENTS {
        stage.assert_order(&format!("o{index}"), "paid", Some(&format!("p{index}")));
    }
}

fn a_client_that_hangs_up_while_the_ledger_is_busy_is_settled_all_the_same(store: Store) {
    let stage = Stage::with(store, &[("RESPONSE_DEADLINE_MS", "60000")]);
    for index in 0..6 {
        stage.expect_payment(&format!("p{index}"), &format!("o{index}"));
    }
    let held = stage.store.hold();
    let send = |index| {
        let mut connection = connect(&stage);
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
    let settled = stage.service.wait_for_records(6, |record| record["outcome"] == "completed");
    assert_eq!(settled.len(), 6);
    for index in 0..6 {
        stage.assert_order(&format!("o{index}"), "paid", Some(&format!("p{index}")));
    }
}

fn half_a_request_changes_nothing(store: Store) {
    let stage = Stage::open(store);
    stage.expect_payment("p", "o");
    let bytes = callback(&notification("p", "o", "completed")).bytes();
    for length in [10, bytes.len() / 2, bytes.len() - 1] {
        connect(&stage).send(&bytes[..length]).expect("an open connection");
    }
    assert_settled(&stage.callback(&notification("p", "o", "failed")), "failed");
    stage.assert_order("o", "pending", None);
}

fn a_body_that_never_comes_is_answered_by_the_deadline(store: Store) {
    let stage = Stage::with(store, &[("RESPONSE_DEADLINE_MS", "500")]);
    let mut connection = connect(&stage);
    let bytes = callback(&notification("p", "o", "completed")).bytes();
    connection.send(&bytes[..bytes.len() - 10]).expect("an open connection");
    assert_problem(&connection.receive().expect("an answer"), 503, "unavailable");
    assert_eq!(stage.send(&Request::get("/healthz")).status, 200);
}

/// The upstream loses a notification whose connection is closed under it, and is quiet for seconds at a time.
#[test]
fn an_idle_connection_stays_open_for_as_long_as_is_set() {
    let patient = Stage::open(Store::sqlite());
    let impatient = Stage::with(Store::sqlite(), &[("KEEP_ALIVE_S", "1")]);
    let healthy = Request::get("/healthz");
    let mut connections = [&patient, &impatient].map(connect);
    for connection in &mut connections {
        assert_eq!(connection.exchange(&healthy).expect("an answer").status, 200);
    }
    thread::sleep(Duration::from_secs(7));
    let [kept, closed] = &mut connections;
    assert_eq!(kept.exchange(&healthy).expect("an answer").status, 200);
    closed.closed().expect("a connection that ends without a word");
}
