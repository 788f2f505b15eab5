//! The portal registers what it expects, and what came too early is applied (contract §5).

use std::thread;

use serde_json::{Value, json};
use simulator::Request;

use crate::test_app::{
    PORTAL_KEY, Store, TestApp, assert_problem, assert_settled, bad_fields, callback, names, notification,
    partial_refund, registration, with, without, word,
};

on_both_stores! {
    a_payment_is_registered_once,
    either_name_and_either_path_will_do,
    a_registration_that_differs_is_a_conflict,
    payments_of_one_order_have_one_price,
    each_bad_field_of_a_registration_is_named,
    what_is_optional_may_be_empty,
    what_could_not_be_read_back_is_not_registered,
    what_came_too_early_is_applied_in_its_order,
    what_contradicts_its_registration_is_rejected_when_it_is_applied,
    what_was_applied_is_not_applied_again,
    the_same_notification_waits_once_however_often_it_comes,
    a_registration_applies_any_number_that_waits,
    what_waits_and_cannot_be_read_goes_on_waiting,
    what_nobody_asked_for_is_not_stored,
}

fn a_payment_is_registered_once(store: Store) {
    let app = TestApp::open(store);
    let details = json!({
        "redirectUrl": "https://portal.example/thanks?order=1", "paymentMethod": "invoice", "invoiceNumber": "25010101",
        "userId": "42",
    });
    let body = with(registration("p", "o"), details);
    let answer = app.register(&body);
    assert_eq!(answer.status, 201);
    let registered = answer.json();
    assert_eq!(names(&registered), ["applied", "order", "payment", "status"]);
    assert_eq!((&registered["status"], &registered["applied"]), (&json!("registered"), &json!([])));
    let payment = &registered["payment"];
    assert_eq!((&payment["status"], &payment["amount"]), (&json!("pending"), &json!("29.00")));
    assert_eq!(payment["redirectUrl"], "https://portal.example/thanks?order=1");
    assert_eq!(payment["record"]["invoiceNumber"], "25010101");
    assert_eq!((&registered["order"]["status"], &registered["order"]["amount"]), (&json!("pending"), &json!("29.00")));

    // The first word on the optional fields stays.
    for again in [
        body.clone(),
        with(body.clone(), json!({ "amount": 29, "currency": "eur" })),
        with(body.clone(), json!({ "redirectUrl": "https://elsewhere.example", "invoiceNumber": "2" })),
        without(without(body, "redirectUrl"), "invoiceNumber"),
    ] {
        let answer = app.register(&again);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json(), with(registered.clone(), json!({ "status": "exists" })));
    }
    assert_eq!(app.deliveries(""), [json!(null); 0], "a registration is no delivery");
}

fn either_name_and_either_path_will_do(store: Store) {
    let app = TestApp::open(store);
    for (index, path) in ["/api/payments", "/api/marathon/payment/register"].into_iter().enumerate() {
        for (names, id) in
            [(&["externalPaymentId"][..], "e"), (&["paymentId"], "p"), (&["externalPaymentId", "paymentId"], "b")]
        {
            let id = format!("{id}{index}");
            let mut body = without(registration("", "o"), "externalPaymentId");
            for name in names {
                body[name] = json!(id);
            }
            let send = |body: &Value| app.send(&Request::post(path).key(PORTAL_KEY).json(body.to_string()));
            assert_eq!(send(&body).status, 201);
            for absent in [json!(null), json!("")] {
                let named = json!({ "paymentId": absent, "externalPaymentId": id });
                assert_eq!(send(&with(body.clone(), named)).status, 200);
                let named = json!({ "paymentId": id, "externalPaymentId": absent });
                assert_eq!(send(&with(body.clone(), named)).status, 200);
            }
            assert_eq!(app.payment(&id)["payment"]["paymentId"], id);
        }
    }
    let disagree = with(registration("one", "o"), json!({ "paymentId": "another" }));
    assert_eq!(bad_fields(&assert_problem(&app.register(&disagree), 400, "invalid_payload")), ["paymentId"]);
}

fn a_registration_that_differs_is_a_conflict(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let before = app.payment("p");
    for changes in [
        json!({ "orderId": "o2" }),
        json!({ "amount": "29.01" }),
        json!({ "currency": "USD" }),
        json!({ "paymentMethod": "paypal" }),
    ] {
        assert_problem(&app.register(&with(registration("p", "o"), changes)), 409, "payment_conflict");
    }
    assert_eq!(app.payment("p"), before);
    assert_problem(&app.get(PORTAL_KEY, "/api/orders/o2"), 404, "not_found");
}

fn payments_of_one_order_have_one_price(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    for changes in [json!({ "amount": "30" }), json!({ "currency": "USD" })] {
        assert_problem(&app.register(&with(registration("p2", "o"), changes)), 409, "order_conflict");
    }
    assert_problem(&app.get(PORTAL_KEY, "/api/payments/p2"), 404, "not_found");
    let by_invoice = json!({ "paymentMethod": "invoice", "amount": 29.0, "currency": "eur" });
    assert_eq!(app.register(&with(registration("p2", "o"), by_invoice)).status, 201);
    // Whatever became of the order.
    assert_settled(&app.callback(&notification("p", "o", "completed")), "completed");
    app.expect_payment("p3", "o");
    assert_settled(&app.callback(&notification("p", "o", "refunded")), "refunded");
    app.expect_payment("p4", "o");
    app.expect_payment("c", "cancelled");
    assert_eq!(app.post(PORTAL_KEY, "/api/orders/cancelled/cancel").status, 200);
    app.expect_payment("c2", "cancelled");
    let payments = app.order("o")["payments"].as_array().expect("a list").clone();
    let ids: Vec<_> = payments.iter().map(|payment| word(&payment["paymentId"])).collect();
    assert_eq!(ids, ["p", "p2", "p3", "p4"]);
}

fn each_bad_field_of_a_registration_is_named(store: Store) {
    let app = TestApp::open(store);
    let long = "x".repeat(256);
    let ids = [json!(""), json!(17), json!([]), json!(long), json!("a\u{0}b")];
    let bad_by_field: [(&str, &[Value]); 8] = [
        ("externalPaymentId", &ids),
        ("orderId", &ids),
        ("invoiceNumber", &ids[1..]),
        ("userId", &ids[1..]),
        (
            "amount",
            &[json!(0), json!(-29), json!("29.001"), json!(29.001), json!("x"), json!(true), json!("NaN"), json!({})],
        ),
        ("currency", &[json!("EURO"), json!("XAU"), json!(17), json!("")]),
        ("paymentMethod", &[json!("bitcoin"), json!("WEBPAY"), json!(17), json!("")]),
        ("redirectUrl", &[json!(17), json!("x".repeat(2049)), json!("https://a\nb")]),
    ];
    for (field, values) in bad_by_field {
        for value in values {
            let answer = app.register(&with(registration("p", "o"), json!({ field: value })));
            assert_eq!(bad_fields(&assert_problem(&answer, 400, "invalid_payload")), [field], "{value}");
        }
    }
    for required in ["externalPaymentId", "orderId", "amount", "currency", "paymentMethod"] {
        for body in [without(registration("p", "o"), required), with(registration("p", "o"), json!({ required: null }))]
        {
            let answer = app.register(&body);
            assert_eq!(bad_fields(&assert_problem(&answer, 400, "invalid_payload")), [required]);
        }
    }
    let problem = assert_problem(&app.register(&json!({})), 400, "invalid_payload");
    assert_eq!(bad_fields(&problem), ["amount", "currency", "externalPaymentId", "orderId", "paymentMethod"]);
    for body in ["", "x", "[]", "{}{}", r#"{"orderId":"o","orderId":"o"}"#] {
        let answer = app.send(
            &Request::post("/api/payments").key(PORTAL_KEY).header("Content-Type", "application/json").body(body),
        );
        assert_problem(&answer, 400, "invalid_payload");
    }
    assert_problem(&app.get(PORTAL_KEY, "/api/payments/p"), 404, "not_found");
    assert_eq!(app.deliveries(""), [json!(null); 0]);
}

fn what_is_optional_may_be_empty(store: Store) {
    let app = TestApp::open(store);
    let empty = json!({ "redirectUrl": "", "invoiceNumber": "", "userId": "", "paymentMethod": "invoice" });
    let answer = app.register(&with(registration("p", "o"), empty));
    assert_eq!((answer.status, &answer.json()["payment"]["redirectUrl"]), (201, &json!(null)));
    assert_eq!(answer.json()["payment"]["record"]["invoiceNumber"], json!(null));
}

fn what_could_not_be_read_back_is_not_registered(store: Store) {
    let app = TestApp::open(store);
    let refused = |id: &str, order: &str, fields: &[&str]| {
        let problem = assert_problem(&app.register(&registration(id, order)), 400, "invalid_payload");
        assert_eq!(bad_fields(&problem), fields, "{id:?} {order:?}");
    };
    // Clients and proxies resolve the last two, encoded or not, before the service sees them.
    for id in ["webhook", ".", ".."] {
        refused(id, "o", &["externalPaymentId"]);
        let alias = with(without(registration("", "o"), "externalPaymentId"), json!({ "paymentId": id }));
        let problem = assert_problem(&app.register(&alias), 400, "invalid_payload");
        assert_eq!(bad_fields(&problem), ["paymentId"]);
        let arguments = ["register", "--order-id=o", "--amount=29", "--currency=EUR", "--method=webpay"];
        let output = app.command(&[&arguments[..], &["--payment-id", id]].concat());
        assert_eq!(output.status.code(), Some(2), "{id}");
    }
    refused("p", ".", &["orderId"]);
    refused("p", "..", &["orderId"]);
    for id in [
        "a/b",
        "a//b",
        "/",
        "//",
        "/a",
        "a/",
        " ",
        "%2F",
        "%",
        "?",
        "#",
        "...",
        "./",
        "../x",
        "x/..",
        "Webhook",
        "webhook/",
        "/webhook",
        "webhook ",
        "webhook/x",
        "a/reconcile",
        "a\\b",
        "+",
        "null",
        "é",
        "e\u{301}",
        "😀",
    ] {
        app.expect_payment(id, id);
        assert_eq!(app.payment(id)["payment"]["paymentId"], id);
        assert_eq!(app.order(id)["order"]["orderId"], id);
    }
    // A notification names what it will; who registered it is not known yet.
    assert_problem(&app.callback(&notification("webhook", "..", "completed")), 404, "payment_not_found");
}

fn what_came_too_early_is_applied_in_its_order(store: Store) {
    let app = TestApp::open(store);
    for body in [
        notification("p", "o", "failed"),
        notification("p", "o", "completed"),
        notification("p", "o", "completed"),
        partial_refund("p", "o", "2025-01-06T12:00:00Z"),
        notification("p", "o", "processing"),
        notification("another", "o", "completed"),
    ] {
        let problem = assert_problem(&app.callback(&body), 404, "payment_not_found");
        assert_eq!(problem["parked"], true);
    }
    // The completion came twice and is applied once.
    let expected = ["failed", "completed", "partially_refunded", "ignored"];
    let answer = app.register(&registration("p", "o"));
    assert_eq!((answer.status, &answer.json()["applied"]), (201, &json!(expected)));
    assert_eq!(answer.json()["payment"]["status"], "completed");
    assert_eq!((&answer.json()["order"]["status"], &answer.json()["order"]["paidBy"]), (&json!("paid"), &json!("p")));

    let deliveries = app.payment("p")["deliveries"].as_array().expect("a list").clone();
    let sources: Vec<_> = deliveries.iter().rev().map(|delivery| word(&delivery["source"])).collect();
    assert_eq!(sources, [&["callback"; 5][..], &["parked"; 4]].concat());
    assert_eq!(app.outcomes("p"), [&["parked"; 5][..], &expected].concat());
    // Each entry tells where it comes from.
    let (applied, mut parked) = (&deliveries[..4], deliveries[4..].to_vec());
    parked.remove(2);
    for (applied, parked) in applied.iter().zip(&parked) {
        assert_eq!((&applied["bodySha256"], &applied["keyName"]), (&parked["bodySha256"], &parked["keyName"]));
        assert_eq!((&applied["sentAt"], &applied["event"]), (&parked["sentAt"], &parked["event"]));
        assert_eq!(applied["requestId"].as_str(), answer.header("x-request-id"));
    }
    assert_eq!(app.outcomes("another"), ["parked"]);
    assert_eq!(app.store.events(), ["payment.failed", "order.paid", "payment.partially_refunded"]);
}

fn what_contradicts_its_registration_is_rejected_when_it_is_applied(store: Store) {
    let app = TestApp::open(store);
    for changes in [json!({ "orderId": "o2" }), json!({ "amount": 30 }), json!({ "currency": "USD" })] {
        let body = with(notification("p", "o", "completed"), changes);
        assert_problem(&app.callback(&body), 404, "payment_not_found");
    }
    let answer = app.register(&registration("p", "o"));
    assert_eq!((answer.status, &answer.json()["applied"]), (201, &json!(["rejected", "rejected", "rejected"])));
    let deliveries = app.payment("p")["deliveries"].as_array().expect("a list").clone();
    let reasons: Vec<_> = deliveries[..3].iter().rev().map(|delivery| word(&delivery["reason"])).collect();
    assert_eq!(reasons, ["order_mismatch", "amount_mismatch", "currency_mismatch"]);
    app.assert_order("o", "pending", None);
}

fn what_was_applied_is_not_applied_again(store: Store) {
    let app = TestApp::open(store);
    assert_problem(&app.callback(&notification("p", "o", "completed")), 404, "payment_not_found");
    // A registration that is refused leaves it waiting.
    app.expect_payment("p0", "o");
    let dearer = with(registration("p", "o"), json!({ "amount": 30 }));
    assert_problem(&app.register(&dearer), 409, "order_conflict");
    assert_eq!(app.register(&registration("p", "o")).json()["applied"], json!(["completed"]));
    assert_eq!(app.register(&registration("p", "o")).json()["applied"], json!([]));
    assert_eq!(app.outcomes("p"), ["parked", "completed"]);
}

fn the_same_notification_waits_once_however_often_it_comes(store: Store) {
    const SENDERS: usize = 8;
    const EACH: usize = 250;
    let app = TestApp::open(store);
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let mut connection = app.service.connect().expect("a connection");
            scope.spawn(move || {
                for n in 0..EACH {
                    // Each time with another timestamp, as senders repeat themselves.
                    let timestamp = format!("2025-01-01T12:{:02}:{:02}.{sender}Z", n / 60, n % 60);
                    let body = with(notification("p", "o", "completed"), json!({ "timestamp": timestamp }));
                    let answer = connection.exchange(&callback(&body)).expect("an answer");
                    assert_problem(&answer, 404, "payment_not_found");
                }
            });
        }
    });
    assert_eq!(app.store.texts("SELECT payment_id AS text FROM parked_deliveries"), ["p"]);
    let entries = app.store.texts("SELECT payment_id AS text FROM deliveries WHERE outcome = 'parked'");
    assert_eq!(entries.len(), SENDERS * EACH, "each left its entry");
    assert_eq!(app.register(&registration("p", "o")).json()["applied"], json!(["completed"]));
}

/// More than SQLite takes parameters in one statement, stored as an earlier version did.
fn a_registration_applies_any_number_that_waits(store: Store) {
    const NUMBER: usize = 40_000;
    // A debug build on a busy machine takes its time.
    let app = TestApp::with(store, &[("RESPONSE_DEADLINE_MS", "60000")]);
    app.store.park_partial_refunds(NUMBER, "p", "o");
    let answer = app.register(&registration("p", "o"));
    assert_eq!(answer.status, 201, "{}", answer.json());
    let applied = answer.json()["applied"].as_array().expect("a list").clone();
    assert_eq!(applied.len(), NUMBER);
    assert!(applied.iter().all(|outcome| outcome == "partially_refunded"));
    app.assert_order("o", "paid", Some("p"));
    assert_eq!(app.store.events().len(), NUMBER + 1);
    assert_eq!(app.store.texts("SELECT payment_id AS text FROM parked_deliveries"), [""; 0]);
    // The log tells of some of them, and how many it leaves out.
    let of_parked = app.service.wait_for_records(100, |record| record["source"] == "parked");
    assert!(of_parked.len() < 1_000, "{}", of_parked.len());
    let left_out = app.service.wait_for_records(1, |record| record["count"] == json!(NUMBER - 100));
    assert_eq!(left_out[0]["payment_id"], "p");
    let again = app.register(&registration("p", "o"));
    assert_eq!((again.status, &again.json()["applied"]), (200, &json!([])));
}

fn what_waits_and_cannot_be_read_goes_on_waiting(store: Store) {
    let app = TestApp::open(store);
    app.callback(&notification("p", "o", "processing"));
    app.callback(&notification("p", "o", "completed"));
    let of_completion = "WHERE status = 'completed'";
    app.store.execute(&format!("UPDATE deliveries SET sent_at = NULL {of_completion}"));
    assert_problem(&app.register(&registration("p", "o")), 500, "processing_error");
    assert_problem(&app.get(PORTAL_KEY, "/api/payments/p"), 404, "not_found");
    let failed = app.service.wait_for_records(1, |record| record["message"] == "not carried out");
    assert!(word(&failed[0]["error"]).contains("delivery"), "{failed:?}");
    // Nothing was lost: with the row repaired, both are applied.
    app.store.execute(&format!("UPDATE deliveries SET sent_at = received_at {of_completion}"));
    assert_eq!(app.register(&registration("p", "o")).json()["applied"], json!(["processing", "completed"]));
    app.assert_order("o", "paid", Some("p"));
}

fn what_nobody_asked_for_is_not_stored(store: Store) {
    let marked = json!({
        "email": "marked-customer@example.invalid", "title": "marked-title", "metadata": { "note": "marked-note" },
    });
    let app = TestApp::open(store);
    app.register(&with(registration("p", "o"), marked.clone()));
    app.callback(&with(notification("p", "o", "completed"), marked));
    let shown = format!("{} {} {:?}", app.payment("p"), app.order("o"), app.deliveries(""));
    assert!(!shown.contains("marked"), "{shown}");
    let stored = app.store.dump();
    assert!(stored.contains("webpay") && !stored.contains("marked"));
}
