//! What the portal reads, orders that it cancels, and whether the service is well (contract §5, §6, §8).

use serde_json::{Value, json};
use simulator::{Request, percent_encoded};

use crate::test_app::{
    OPERATOR_KEY, PORTAL_KEY, Store, TestApp, assert_problem, assert_settled, names, notification, registration, with,
    word,
};

on_both_stores! {
    documents_have_the_members_of_the_contract,
    amounts_have_the_digits_of_their_currency,
    ids_in_paths_are_percent_encoded,
    what_is_not_there_is_not_found,
    an_order_is_cancelled_unless_it_is_paid,
    the_service_says_that_it_is_well,
}

const DELIVERY: [&str; 17] = [
    "bodySha256",
    "deliveryId",
    "event",
    "keyName",
    "newStatus",
    "orderId",
    "outcome",
    "paymentId",
    "paymentMethod",
    "previousStatus",
    "providerTransactionId",
    "reason",
    "receivedAt",
    "requestId",
    "sentAt",
    "source",
    "status",
];
const ORDER: [&str; 8] = ["amount", "createdAt", "currency", "orderId", "paidAt", "paidBy", "status", "updatedAt"];
const PAYMENT: [&str; 12] = [
    "amount",
    "createdAt",
    "currency",
    "orderId",
    "paidAt",
    "paymentId",
    "paymentMethod",
    "providerTransactionId",
    "record",
    "redirectUrl",
    "status",
    "updatedAt",
];

/// RFC 3339 in UTC with milliseconds.
#[track_caller]
fn assert_time(value: &Value) {
    let shape = word(value).chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
}

fn documents_have_the_members_of_the_contract(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let report = json!({
        "timestamp": "2025-01-01T14:00:00.5+02:00", "metadata": { "providerTransactionId": "t", "additionalInfo": {} },
    });
    let answer = app.callback(&with(notification("p", "o", "completed"), report));
    assert_settled(&answer, "completed");
    let history = app.payment("p");
    assert_eq!(names(&history), ["deliveries", "order", "payment"], "and nextCursor where there are more");
    let (payment, order, delivery) = (&history["payment"], &history["order"], &history["deliveries"][0]);
    assert_eq!((names(payment), names(order), names(delivery)), (PAYMENT.into(), ORDER.into(), DELIVERY.into()));
    for time in ["createdAt", "updatedAt", "paidAt"] {
        assert_time(&payment[time]);
        assert_time(&order[time]);
    }
    assert_eq!(payment["redirectUrl"], json!(null));
    assert_eq!(payment["record"], json!({ "kind": "webpay", "status": "completed", "transactionId": "t" }));

    assert_time(&delivery["receivedAt"]);
    assert_eq!(delivery["sentAt"], "2025-01-01T12:00:00.500Z");
    assert_eq!((&delivery["source"], &delivery["outcome"]), (&json!("callback"), &json!("completed")));
    assert_eq!((&delivery["previousStatus"], &delivery["newStatus"]), (&json!("pending"), &json!("completed")));
    assert_eq!(delivery["requestId"].as_str(), answer.header("x-request-id"));
    assert_eq!((word(&delivery["bodySha256"]).len(), word(&delivery["keyName"]).len()), (64, 10));
    let id = word(&delivery["deliveryId"]);
    assert_eq!(&app.get(OPERATOR_KEY, &format!("/api/deliveries/{id}")).json(), delivery);
    assert_eq!(&app.deliveries("")[0], delivery);

    let by_order = app.order("o");
    assert_eq!(names(&by_order), ["order", "payments"]);
    assert_eq!((&by_order["order"], &by_order["payments"]), (order, &json!([payment])));
}

fn amounts_have_the_digits_of_their_currency(store: Store) {
    let app = TestApp::open(store);
    for (index, (given, currency, shown)) in [
        (json!(29), "EUR", "29.00"),
        (json!("29.9"), "czk", "29.90"),
        (json!(0.01), "USD", "0.01"),
        (json!("1500"), "JPY", "1500"),
        (json!(1.234), "BHD", "1.234"),
        (json!("9999999999999.99"), "EUR", "9999999999999.99"),
    ]
    .into_iter()
    .enumerate()
    {
        let (payment, order) = (format!("p{index}"), format!("o{index}"));
        let price = json!({ "amount": given, "currency": currency });
        let registered = app.register(&with(registration(&payment, &order), price.clone())).json();
        for document in [&registered["payment"], &registered["order"]] {
            let expected = (&json!(shown), &json!(currency.to_uppercase()));
            assert_eq!((&document["amount"], &document["currency"]), expected);
        }
        assert_settled(&app.callback(&with(notification(&payment, &order, "completed"), price)), "completed");
    }
}

fn ids_in_paths_are_percent_encoded(store: Store) {
    let app = TestApp::open(store);
    for id in [
        "a/b",
        "a b",
        "order 3 \"ěš/\\",
        "a%2Fb",
        "a%b",
        "a+b",
        "?",
        "#",
        "&=;",
        "😀",
        "marathon:1:2",
        "a/cancel",
        "/",
        "//",
        "%",
        "%25",
        "webhook/",
        "x/../y",
    ] {
        let payment = format!("p{id}");
        app.expect_payment(&payment, id);
        assert_eq!(app.order(id)["order"]["orderId"], id);
        assert_eq!(app.payment(&payment)["payment"]["paymentId"], payment);
        let filters = format!("?payment={}&order={}", percent_encoded(&payment), percent_encoded(id));
        assert_settled(&app.callback(&notification(&payment, id, "failed")), "failed");
        assert_eq!(app.deliveries(&filters).len(), 1);
        let cancelled = app.post(PORTAL_KEY, &format!("/api/orders/{}/cancel", percent_encoded(id)));
        assert_eq!((cancelled.status, &cancelled.json()["order"]["orderId"]), (200, &json!(id)));
    }
    // A colon need not be encoded.
    assert_eq!(app.get(PORTAL_KEY, "/api/orders/marathon:1:2").status, 200);
}

fn what_is_not_there_is_not_found(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let long = "x".repeat(256);
    for id in ["o2", "O", "o%20", "%00", "%0A", "%FF", &long] {
        let order = format!("/api/orders/{id}");
        assert_problem(&app.get(PORTAL_KEY, &order), 404, "not_found");
        assert_problem(&app.post(PORTAL_KEY, &format!("{order}/cancel")), 404, "not_found");
        assert_problem(&app.get(PORTAL_KEY, &format!("/api/payments/{id}")), 404, "not_found");
    }
    for id in ["d", "0", "00000000-0000-7000-8000-000000000000", "%00"] {
        let delivery = format!("/api/deliveries/{id}");
        assert_problem(&app.get(OPERATOR_KEY, &delivery), 404, "not_found");
        assert_problem(&app.post(OPERATOR_KEY, &format!("{delivery}/replay")), 404, "not_found");
    }
}

fn an_order_is_cancelled_unless_it_is_paid(store: Store) {
    let app = TestApp::open(store);
    let cancel = |order: &str| app.post(PORTAL_KEY, &format!("/api/orders/{order}/cancel"));
    app.expect_payment("p", "o");
    let cancelled = cancel("o");
    assert_eq!((cancelled.status, names(&cancelled.json())), (200, vec!["order", "payments"]));
    assert_eq!(cancelled.json()["order"]["status"], "cancelled");
    // The payment is a matter of its own.
    assert_eq!(cancelled.json()["payments"][0]["status"], "pending");
    let again = cancel("o");
    assert_eq!((again.status, again.json()), (200, cancelled.json()));

    app.expect_payment("p2", "o2");
    assert_settled(&app.callback(&notification("p2", "o2", "completed")), "completed");
    assert_problem(&cancel("o2"), 409, "order_paid");
    app.assert_order("o2", "paid", Some("p2"));
    assert_settled(&app.callback(&notification("p2", "o2", "refunded")), "refunded");
    assert_problem(&cancel("o2"), 409, "order_paid");
    assert_eq!(app.store.events(), ["order.paid", "payment.refunded"], "a cancellation is no event");
}

fn the_service_says_that_it_is_well(store: Store) {
    let app = TestApp::open(store);
    for target in ["/healthz", "/readyz"] {
        let answer = app.send(&Request::get(target));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        assert!(answer.json()["status"].is_string());
    }
}
