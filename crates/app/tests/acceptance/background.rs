//! Work without a request, and who sees what came of it.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::Request;

use crate::test_app::{Store, TestApp, assert_settled, notification, ok};

on_both_stores! {
    readiness_and_metrics_show_what_background_tasks_did,
    of_two_replicas_one_reports_stuck_payments,
}

const STUCK: &str = "payments are stuck: an operator must look";

/// What `/readyz` says of the one background task, once it had a round.
fn first_round(app: &TestApp) -> Value {
    let begun = Instant::now();
    loop {
        let task = ok(app.send(&Request::get("/readyz")))["background"][0].clone();
        if task["succeeded"] != 0 || task["failed"] != 0 {
            return task;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{task}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn readiness_and_metrics_show_what_background_tasks_did(store: Store) {
    let app = TestApp::open(store);
    let task = first_round(&app);
    assert_eq!(
        (&task["task"], &task["succeeded"], &task["failed"]),
        (&json!("report_stuck_payments"), &json!(1), &json!(0))
    );
    assert!(task["lastSuccessAt"].is_string(), "{task}");
    let metrics = app.send(&Request::get("/metrics"));
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let rounds = "payment_callback_background_rounds_total{result=\"done\",task=\"report_stuck_payments\"} 1";
    assert!(metrics.lines().any(|line| line == rounds), "{metrics}");
}

fn of_two_replicas_one_reports_stuck_payments(store: Store) {
    let mut app = TestApp::open(store);
    let _ = first_round(&app);
    for payment in ["p", "rival"] {
        app.expect_payment(payment, "o");
    }
    assert_settled(&app.callback(&notification("p", "o", "completed")), "completed");
    assert_settled(&app.callback(&notification("rival", "o", "completed")), "unapplied");
    // The lease is given up at the stop, so the first that starts afterwards has the next round.
    app.service.stop().expect("an end");
    app.service = app.another();
    let stuck = |record: &Value| record["message"] == STUCK;
    let report = &app.service.wait_for_records(1, stuck)[0];
    assert_eq!((&report["level"], &report["unapplied_payments"]), (&json!("warn"), &json!(1)));
    let other = app.another();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(500) {
        assert!(!other.records().iter().any(stuck), "the other replica has the lease");
        thread::sleep(Duration::from_millis(50));
    }
}
