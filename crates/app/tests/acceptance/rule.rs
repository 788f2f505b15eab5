//! The rule of contract §4, as the senders and the portal see it.

use serde_json::{Value, json};

use crate::test_app::{
    PORTAL_KEY, Store, TestApp, assert_settled, names, notification, partial_refund, registration, with,
};

on_both_stores! {
    a_payment_only_moves_up,
    every_method_s_record_follows_its_payment,
    a_partial_refund_is_no_status,
    an_order_is_paid_by_one_payment,
    a_refund_of_the_payment_that_paid_refunds_the_order,
    a_cancelled_order_is_not_paid,
    any_order_and_repetition_ends_in_the_same_status,
    a_method_that_differs_is_a_warning_and_the_registered_one_counts,
    the_portal_is_told_of_what_happened,
}

const STATUSES: [&str; 6] = ["pending", "processing", "failed", "cancelled", "completed", "refunded"];
const TRANSACTION: &str = "a-transaction";

fn rank(status: &str) -> usize {
    STATUSES.iter().position(|word| *word == status).expect("a known status")
}

/// What a notification is answered with where the payment has this status.
fn expected(before: &str, reported: &'static str) -> &'static str {
    match rank(reported).cmp(&rank(before)) {
        std::cmp::Ordering::Less => "ignored",
        std::cmp::Ordering::Equal => "duplicate",
        std::cmp::Ordering::Greater => reported,
    }
}

fn a_payment_only_moves_up(store: Store) {
    let app = TestApp::open(store);
    for first in STATUSES {
        for second in STATUSES {
            let (payment, order) = (format!("{first}-{second}"), format!("o-{first}-{second}"));
            app.expect_payment(&payment, &order);
            assert_settled(&app.callback(&notification(&payment, &order, first)), expected("pending", first));
            assert_settled(&app.callback(&notification(&payment, &order, second)), expected(first, second));
            let highest = if rank(first) > rank(second) { first } else { second };
            let history = app.payment(&payment);
            assert_eq!(history["payment"]["status"], highest);
            let expected_order = match (first, second) {
                ("completed", "refunded") => "refunded",
                // A refund that comes first leaves the order unpaid, and the late completion is ignored.
                ("refunded", _) | (_, "refunded") => "pending",
                ("completed", _) | (_, "completed") => "paid",
                _ => "pending",
            };
            assert_eq!(history["order"]["status"], expected_order, "{first}, then {second}");
            let newest = &history["deliveries"][0];
            assert_eq!((&newest["previousStatus"], &newest["newStatus"]), (&json!(first), &json!(highest)));
        }
    }
}

fn every_method_s_record_follows_its_payment(store: Store) {
    let app = TestApp::open(store);
    let details = json!({ "invoiceNumber": "25010101", "userId": "42" });
    let transaction = json!(TRANSACTION);
    for (method, record) in [
        ("paypal", Some(json!({ "kind": "paypal", "transactionId": transaction }))),
        ("webpay", Some(json!({ "kind": "webpay", "transactionId": transaction }))),
        ("inner", Some(json!({ "kind": "inner", "userId": "42" }))),
        ("invoice", Some(json!({ "kind": "invoice", "invoiceNumber": "25010101", "receipt": transaction }))),
        ("card", None),
        ("stripe", None),
        ("payu", None),
        ("fiobanka", None),
        ("comgate", None),
    ] {
        let by_method = json!({ "paymentMethod": method });
        let (payment, order) = (method, format!("order by {method}"));
        let body = with(with(registration(payment, &order), by_method.clone()), details.clone());
        let registered = app.register(&body).json();
        let record_at = |status: &str, transaction_id: &Value| match &record {
            Some(record) => {
                let mut record = with(record.clone(), json!({ "status": status }));
                for name in ["transactionId", "receipt"] {
                    if let Some(value) = record.get_mut(name) {
                        *value = transaction_id.clone();
                    }
                }
                record
            }
            None => json!(null),
        };
        assert_eq!(registered["payment"]["record"], record_at("pending", &json!(null)));
        let say = |status: &str, metadata: Value| {
            let body = with(with(notification(payment, &order, status), by_method.clone()), metadata);
            assert_settled(&app.callback(&body), status);
            let history = app.payment(payment);
            assert_eq!(history["payment"]["status"], status);
            (history["payment"]["record"].clone(), history["payment"]["paidAt"].clone())
        };
        let with_transaction = json!({ "metadata": { "providerTransactionId": TRANSACTION } });
        assert_eq!(say("failed", json!({})).0, record_at("failed", &json!(null)));
        let (completed, paid_at) = say("completed", with_transaction);
        assert_eq!(completed, record_at("completed", &transaction));
        assert!(paid_at.is_string());
        app.assert_order(&order, "paid", Some(payment));
        let refund = json!({ "metadata": { "providerTransactionId": "the refund's own" } });
        assert_eq!(say("refunded", refund).0, record_at("refunded", &transaction));
        app.assert_order(&order, "refunded", Some(payment));
    }
}

fn a_partial_refund_is_no_status(store: Store) {
    let app = TestApp::open(store);
    let (monday, tuesday) = ("2025-01-06T12:00:00Z", "2025-01-07T12:00:00Z");
    let by_transaction =
        |id: &str| with(partial_refund("p", "o", monday), json!({ "metadata": { "providerTransactionId": id } }));
    app.expect_payment("p", "o");
    assert_settled(&app.callback(&notification("p", "o", "completed")), "completed");
    for (body, outcome) in [
        (partial_refund("p", "o", monday), "partially_refunded"),
        (partial_refund("p", "o", monday), "duplicate"),
        (partial_refund("p", "o", "2025-01-06T14:00:00+02:00"), "duplicate"),
        (partial_refund("p", "o", tuesday), "partially_refunded"),
        (by_transaction("t1"), "partially_refunded"),
        (by_transaction("t2"), "partially_refunded"),
        (by_transaction("t1"), "duplicate"),
        (notification("p", "o", "completed"), "duplicate"),
    ] {
        assert_settled(&app.callback(&body), outcome);
        assert_eq!(app.payment("p")["payment"]["status"], "completed");
        app.assert_order("o", "paid", Some("p"));
    }
    assert_settled(&app.callback(&notification("p", "o", "refunded")), "refunded");
    assert_settled(&app.callback(&partial_refund("p", "o", "2025-01-08T12:00:00Z")), "ignored");
    app.assert_order("o", "refunded", Some("p"));

    // Only what was paid is refunded.
    for before in ["pending", "processing", "failed", "cancelled"] {
        let (payment, order) = (format!("p {before}"), format!("o {before}"));
        app.expect_payment(&payment, &order);
        app.callback(&notification(&payment, &order, before));
        assert_settled(&app.callback(&partial_refund(&payment, &order, monday)), "partially_refunded");
        assert_settled(&app.callback(&partial_refund(&payment, &order, monday)), "duplicate");
        assert_eq!(app.payment(&payment)["payment"]["status"], "completed");
        app.assert_order(&order, "paid", Some(&payment));
    }
}

fn an_order_is_paid_by_one_payment(store: Store) {
    let app = TestApp::open(store);
    for payment in ["first", "second", "third"] {
        app.expect_payment(payment, "o");
    }
    assert_settled(&app.callback(&notification("first", "o", "failed")), "failed");
    assert_settled(&app.callback(&notification("second", "o", "completed")), "completed");
    assert_settled(&app.callback(&notification("first", "o", "completed")), "unapplied");
    assert_settled(&app.callback(&notification("first", "o", "completed")), "duplicate");
    assert_settled(&app.callback(&partial_refund("third", "o", "2025-01-06T12:00:00Z")), "unapplied");
    app.assert_order("o", "paid", Some("second"));
    let history = app.payment("first");
    // The money is in and recorded all the same.
    assert_eq!(history["payment"]["status"], "completed");
    assert_eq!(history["payment"]["record"]["status"], "completed");
    assert!(history["payment"]["paidAt"].is_string());
    assert_eq!(history["deliveries"][1]["reason"], "order_paid");
    // The refund of what did not pay it is no matter to the order.
    assert_settled(&app.callback(&notification("first", "o", "refunded")), "refunded");
    app.assert_order("o", "paid", Some("second"));
}

fn a_refund_of_the_payment_that_paid_refunds_the_order(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    assert_settled(&app.callback(&notification("p", "o", "completed")), "completed");
    let paid_at = app.order("o")["order"]["paidAt"].clone();
    assert_settled(&app.callback(&notification("p", "o", "refunded")), "refunded");
    app.assert_order("o", "refunded", Some("p"));
    assert_eq!(app.order("o")["order"]["paidAt"], paid_at);
    for late in ["completed", "failed", "pending"] {
        assert_settled(&app.callback(&notification("p", "o", late)), "ignored");
    }
    // Another payment may be registered, and its money arrives, but the order is not paid again.
    app.expect_payment("p2", "o");
    assert_settled(&app.callback(&notification("p2", "o", "completed")), "unapplied");
    assert_eq!(app.payment("p2")["deliveries"][0]["reason"], "order_refunded");
    app.assert_order("o", "refunded", Some("p"));
}

fn a_cancelled_order_is_not_paid(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    assert_eq!(app.post(PORTAL_KEY, "/api/orders/o/cancel").status, 200);
    assert_settled(&app.callback(&notification("p", "o", "completed")), "unapplied");
    let history = app.payment("p");
    assert_eq!(
        (&history["payment"]["status"], &history["order"]["status"]),
        (&json!("completed"), &json!("cancelled"))
    );
    assert_eq!(history["deliveries"][0]["reason"], "order_cancelled");
    assert_eq!(history["order"]["paidAt"], json!(null));
    let unapplied = app.service.wait_for_records(1, |record| record["outcome"] == "unapplied");
    assert_eq!(unapplied[0]["level"], "warn", "an operator must look");
}

fn any_order_and_repetition_ends_in_the_same_status(store: Store) {
    let app = TestApp::open(store);
    let said = ["processing", "failed", "completed", "refunded"];
    for (index, order_of) in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]].into_iter().enumerate() {
        let (payment, order) = (format!("p{index}"), format!("o{index}"));
        app.expect_payment(&payment, &order);
        for status in order_of.into_iter().chain(order_of).map(|place| said[place]) {
            assert_eq!(app.callback(&notification(&payment, &order, status)).status, 200);
        }
        assert_eq!(app.payment(&payment)["payment"]["status"], "refunded");
        assert_ne!(app.order(&order)["order"]["status"], "paid");
    }
}

fn a_method_that_differs_is_a_warning_and_the_registered_one_counts(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let by_paypal = with(notification("p", "o", "completed"), json!({ "paymentMethod": "paypal" }));
    assert_settled(&app.callback(&by_paypal), "completed");
    let history = app.payment("p");
    assert_eq!(history["payment"]["paymentMethod"], "webpay");
    assert_eq!(names(&history["payment"]["record"]), ["kind", "status", "transactionId"]);
    assert_eq!(history["payment"]["record"]["kind"], "webpay");
    assert_eq!(history["deliveries"][0]["paymentMethod"], "paypal");
    let warning = app.service.wait_for_records(1, |record| record["level"] == "warn");
    assert_eq!(warning[0]["message"], "the payment method differs; the registered one counts");
    let methods = (&warning[0]["payment_method"], &warning[0]["registered_method"]);
    assert_eq!(methods, (&json!("paypal"), &json!("webpay")));
}

fn the_portal_is_told_of_what_happened(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    app.expect_payment("p2", "o");
    for body in [
        notification("p", "o", "processing"),
        notification("p", "o", "failed"),
        notification("p", "o", "cancelled"),
        notification("p", "o", "failed"),
        notification("p", "o", "completed"),
        notification("p", "o", "completed"),
        notification("p2", "o", "completed"),
        partial_refund("p", "o", "2025-01-06T12:00:00Z"),
        partial_refund("p", "o", "2025-01-06T12:00:00Z"),
        notification("p", "o", "refunded"),
    ] {
        assert_eq!(app.callback(&body).status, 200);
    }
    let expected = [
        "payment.failed",
        "payment.cancelled",
        "order.paid",
        "payment.unapplied",
        "payment.partially_refunded",
        "payment.refunded",
    ];
    assert_eq!(app.store.events(), expected);
}
