//! Real senders' requests, byte for byte as they went over the wire.

use serde_json::{Value, json};
use simulator::recorded::{
    DOCUMENTED_COMPLETED, MARATHON_COMPLETED, MARATHON_KEY, MARATHON_ORDER, MARATHON_PAYMENT, MARATHON_REGISTER,
    OLDER_COMPLETED, OLDER_COMPLETED_AGAIN, OLDER_FAILED, OLDER_FULL_REFUND, OLDER_PARTIAL_REFUND, OLDER_UNICODE_ORDER,
};
use simulator::{Request, Response};

use crate::test_app::{PAYMENT_KEY, Store, TestApp, WEBHOOK, assert_problem, assert_settled, registration, word};

on_both_stores! {
    marathon_registers_a_payment_and_reports_it,
    marathon_may_report_before_it_registers,
    marathon_s_registration_is_taken_at_the_documented_path,
    the_upstream_that_is_deployed_lacks_a_key_and_nothing_else,
    the_body_that_the_specification_gives_is_settled,
}

const MARATHON: [(&str, &str); 2] = [("PAYMENT_API_KEY", MARATHON_KEY), ("PORTAL_API_KEY", MARATHON_KEY)];

#[track_caller]
fn replay(app: &TestApp, bytes: &[u8]) -> Response {
    app.service.replay(bytes).expect("an answer")
}

fn order(app: &TestApp) -> Value {
    let target = format!("/api/orders/{}", simulator::percent_encoded(MARATHON_ORDER));
    app.get(MARATHON_KEY, &target).json()
}

fn marathon_registers_a_payment_and_reports_it(store: Store) {
    let app = TestApp::with(store, &MARATHON);
    let registered = replay(&app, MARATHON_REGISTER);
    assert_eq!((registered.status, &registered.json()["status"]), (201, &json!("registered")));
    let payment = &registered.json()["payment"];
    assert_eq!((&payment["amount"], &payment["currency"]), (&json!("29.00"), &json!("EUR")));
    assert!(!String::from_utf8_lossy(&registered.body).contains("user@example.invalid"));
    assert_settled(&replay(&app, MARATHON_COMPLETED), "completed");
    let paid = order(&app);
    assert_eq!((&paid["order"]["status"], &paid["order"]["paidBy"]), (&json!("paid"), &json!(MARATHON_PAYMENT)));
    // It repeats both for payments that are confirmed already.
    let again = replay(&app, MARATHON_REGISTER);
    assert_eq!((again.status, &again.json()["status"]), (200, &json!("exists")));
    assert_settled(&replay(&app, MARATHON_COMPLETED), "duplicate");
    // Later it writes the amount as a string.
    let request = Request::recorded(MARATHON_REGISTER);
    let body = String::from_utf8_lossy(request.body_bytes()).replace(r#""amount":29,"#, r#""amount":"29.00","#);
    assert_eq!(app.send(&request.body(body)).json()["status"], "exists");
    assert_eq!(order(&app), paid);
}

fn marathon_may_report_before_it_registers(store: Store) {
    let app = TestApp::with(store, &MARATHON);
    assert_problem(&replay(&app, MARATHON_COMPLETED), 404, "payment_not_found");
    let registered = replay(&app, MARATHON_REGISTER);
    assert_eq!((registered.status, &registered.json()["applied"]), (201, &json!(["completed"])));
    assert_eq!(order(&app)["order"]["status"], "paid");
}

fn marathon_s_registration_is_taken_at_the_documented_path(store: Store) {
    let app = TestApp::with(store, &MARATHON);
    let there =
        String::from_utf8_lossy(MARATHON_REGISTER).replacen("/api/marathon/payment/register", "/api/payments", 1);
    let answer = replay(&app, there.as_bytes());
    assert_eq!((answer.status, &answer.json()["payment"]["paymentId"]), (201, &json!(MARATHON_PAYMENT)));
    let again = replay(&app, MARATHON_REGISTER);
    assert_eq!((again.status, &again.json()["status"]), (200, &json!("exists")));
}

fn the_upstream_that_is_deployed_lacks_a_key_and_nothing_else(store: Store) {
    let app = TestApp::open(store);
    for (recorded, outcome) in [
        (OLDER_COMPLETED, "completed"),
        (OLDER_COMPLETED_AGAIN, "duplicate"),
        (OLDER_FAILED, "failed"),
        (OLDER_FULL_REFUND, "refunded"),
        (OLDER_PARTIAL_REFUND, "partially_refunded"),
        (OLDER_UNICODE_ORDER, "completed"),
    ] {
        assert_problem(&replay(&app, recorded), 401, "unauthorized");
        let with_key = Request::recorded(recorded).key(PAYMENT_KEY);
        let body: Value = serde_json::from_slice(with_key.body_bytes()).expect("JSON");
        let (payment, order) = (word(&body["paymentId"]), word(&body["orderId"]));
        let registered = app.register(&registration(&payment, &order)).status;
        assert_eq!(registered, if outcome == "duplicate" { 200 } else { 201 });
        assert_settled(&app.send(&with_key), outcome);
        assert_eq!(app.payment(&payment)["deliveries"][0]["paymentMethod"], json!(null));
    }
    app.assert_order("order-1", "paid", Some("7729bbd2-8e60-4be2-a51a-ca70de9b582e"));
    app.assert_order("order 3 \"ěš/\\", "paid", Some("10df9c13-2eb3-4870-8dc3-fa3006acdb8e"));
    app.assert_order("st-1", "pending", None);
    // The refund came without its completion.
    app.assert_order("ref-full", "pending", None);
    app.assert_order("ref-part", "paid", Some("927f3ae4-725d-49ed-8c15-a44b0ed65523"));
}

fn the_body_that_the_specification_gives_is_settled(store: Store) {
    let app = TestApp::open(store);
    let request = Request::post(WEBHOOK).key(PAYMENT_KEY).json(DOCUMENTED_COMPLETED);
    assert_problem(&app.send(&request), 404, "payment_not_found");
    let body: Value = serde_json::from_str(DOCUMENTED_COMPLETED).expect("JSON");
    let (payment, order) = (word(&body["paymentId"]), word(&body["orderId"]));
    let registered = app.register(&registration(&payment, &order)).json();
    assert_eq!(registered["applied"], json!(["completed"]));
    assert_settled(&app.send(&request), "duplicate");
    let history = app.payment(&payment);
    assert_eq!(history["payment"]["record"]["transactionId"], body["metadata"]["providerTransactionId"]);
}
