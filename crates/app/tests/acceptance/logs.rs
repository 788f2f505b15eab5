//! What the service writes down, and what it never does (contract §2, §3).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use simulator::Request;

use crate::authentication::{OTHER_SECRET, SECRET, now, signed};
use crate::test_app::{
    OPERATOR_KEY, PAYMENT_KEY, PORTAL_KEY, Store, TestApp, WEBHOOK, callback, names, notification, partial_refund,
    register, registration, with, word,
};

on_both_stores! {
    every_line_is_a_record,
    all_records_of_a_request_bear_its_id,
    each_step_of_a_callback_is_logged_once_and_in_its_order,
    a_callback_that_cannot_be_settled_is_logged_with_its_payment_its_order_and_the_error,
    what_is_not_a_callback_is_logged_too,
    the_records_say_what_happened,
    who_is_refused_and_who_is_admitted_is_logged_for_every_group_of_callers,
    an_answer_by_the_deadline_is_logged_and_what_came_of_the_callback_too,
    a_caller_who_has_gone_is_noted,
    nothing_secret_and_nothing_about_a_customer_is_logged,
    the_level_decides_what_is_logged,
}

fn every_line_is_a_record(store: Store) {
    let mut app = TestApp::with(store, &[("LOG_LEVEL", "debug"), ("SERVICE_NAME", "callbacks_1-a")]);
    app.expect_payment("p", "o");
    app.callback(&notification("p", "o", "completed"));
    app.callback(&json!({ "status": "a\nb" }));
    app.get(PORTAL_KEY, "/api/orders/a%0Ab");
    assert_eq!(app.service.stop().expect("an end").code, Some(0));
    let (lines, records) = (app.service.lines(), app.service.records());
    assert_eq!(lines.len(), records.len(), "{lines:#?}");
    for record in &records {
        assert_eq!(record["service"], "callbacks_1-a");
        assert!(record["message"].as_str().is_some_and(|message| !message.is_empty()), "{record}");
        assert!(record["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{record}");
        let level = record["level"].as_str().unwrap_or_default();
        assert!(["error", "warn", "info", "debug"].contains(&level), "{record}");
    }
    let messages: Vec<_> = records.iter().filter_map(|record| record["message"].as_str()).collect();
    assert_eq!(messages[0], "starting");
    assert_eq!(messages.last(), Some(&"stopped"));
}

fn all_records_of_a_request_bear_its_id(store: Store) {
    let app = TestApp::with(store, &[("LOG_LEVEL", "debug")]);
    app.callback(&notification("p", "o", "completed"));
    let traced = |id: &str, request: Request, message: &str| {
        let answer = app.send(&request.header("X-Request-Id", id));
        assert_eq!(answer.header("x-request-id"), Some(id));
        let answered = |record: &Value| record["correlation_id"] == id && record["http_status"] == answer.status;
        let answered = app.service.wait_for_records(1, answered);
        assert!(answered[0]["duration_ms"].is_number(), "{answered:#?}");
        let mut records = app.service.records();
        records.retain(|record| record["correlation_id"] == id);
        assert!(records.iter().any(|record| record["message"] == message), "{records:#?}");
    };
    let register = register(&registration("p", "o"));
    traced("registering", register, "registration");
    traced("settling", callback(&notification("p", "o", "failed")), "notification settled");
    traced(
        "parking",
        callback(&notification("p2", "o2", "failed")),
        "notification parked until its payment is registered",
    );
    traced("invalid", callback(&json!({})), "notification could not be understood");
    traced("cancelling", Request::post("/api/orders/o/cancel").key(PORTAL_KEY), "cancellation");
    // What waited for its payment is settled in the request that registered it.
    let applied = app.service.wait_for_records(1, |record| record["outcome"] == "completed");
    assert_eq!(applied[0]["correlation_id"], "registering");

    let started = ["starting", "migration applied", "listening"];
    let of_no_request = |record: &&Value| record["correlation_id"].is_null();
    let records = app.service.records();
    let mut others: Vec<_> =
        records.iter().filter(of_no_request).filter_map(|record| record["message"].as_str()).collect();
    others.dedup();
    assert_eq!(others, started);
}

fn nothing_secret_and_nothing_about_a_customer_is_logged(store: Store) {
    let settings = [
        ("LOG_LEVEL", "debug"),
        ("PAYMENT_API_KEY", "marked-payment-key,the-key-of-the-sender"),
        ("PORTAL_API_KEY", "marked-portal-key,the-key-of-the-portal"),
        ("OPERATOR_API_KEY", "marked-operator-key,the-key-of-an-operator"),
        ("PAYMENT_WEBHOOK_SECRET", "whsec_bWFya2VkbWFya2VkbWFya2VkbWFya2VkbWFya2Vk"),
    ];
    let mut app = TestApp::with(store, &settings);
    let marked = json!({
        "email": "marked@example.invalid", "title": "marked", "redirectUrl": "https://marked.example/marked",
        "userId": "marked", "invoiceNumber": "marked",
        "metadata": { "customer": "marked", "providerTransactionId": 17, "marked": { "marked": "marked" } },
    });
    app.register(&with(registration("p", "o"), marked.clone()));
    app.register(&with(registration("", "o"), marked.clone()));
    for status in ["failed", "completed", "marked"] {
        app.callback(&with(notification("p", "o", status), marked.clone()));
    }
    for name in ["event", "timestamp", "amount", "currency", "metadata", "marked"] {
        app.callback(&with(notification("p", "o", "completed"), json!({ name: "marked" })));
    }
    for body in ["marked", "{\"marked\":marked}", "{\"marked\":1,\"marked\":1}", "{\"a\":\"marked"] {
        app.send(&Request::post(WEBHOOK).key(PAYMENT_KEY).json(body));
    }
    for request in [
        Request::post(WEBHOOK).key("marked").json("marked"),
        Request::post(WEBHOOK).key("marked-payment-key").json("{}"),
        Request::post("/api/payments").key("marked-portal-key").json("{}"),
        Request::post(WEBHOOK).header("Cookie", "marked").header("Authorization", "Bearer marked").json("{}"),
        Request::post(&format!("{WEBHOOK}?token=marked")).key(PAYMENT_KEY).json("{}"),
        Request::get("/api/deliveries?outcome=marked").key(OPERATOR_KEY),
        Request::get("/api/deliveries?marked=marked").key("marked-operator-key"),
        Request::post(WEBHOOK).key(PAYMENT_KEY).header("Content-Type", "text/marked").body("marked"),
        Request::post(WEBHOOK).key(PAYMENT_KEY).header("X-Request-Id", "marked marked").json("marked"),
    ] {
        app.send(&request);
    }
    assert_eq!(app.service.stop().expect("an end").code, Some(0));
    let lines = app.service.lines();
    assert!(lines.iter().any(|line| line.contains("notification settled")));
    let telling: Vec<_> = lines.iter().filter(|line| line.contains("marked") || line.contains("bWFya2Vk")).collect();
    assert!(telling.is_empty(), "{telling:#?}");
    assert!(!lines.iter().any(|line| line.contains(PAYMENT_KEY) || line.contains("postgres://")));
}

fn the_level_decides_what_is_logged(store: Store) {
    let levels = |app: &mut TestApp| {
        app.expect_payment("p", "o");
        app.callback(&notification("p", "o", "completed"));
        app.callback(&json!({}));
        assert_eq!(app.service.stop().expect("an end").code, Some(0));
        let mut levels: Vec<_> = app.service.records().iter().map(|record| record["level"].to_string()).collect();
        levels.sort();
        levels.dedup();
        levels
    };
    let mut app = TestApp::with(store, &[("LOG_LEVEL", "")]);
    assert_eq!(levels(&mut app), ["\"info\"", "\"warn\""]);
}

/// What one request has written: each record's level and message, and the records themselves.
fn written_by(app: &TestApp, request: &Request) -> (String, Vec<Value>) {
    static REQUESTS: AtomicUsize = AtomicUsize::new(1);
    let id = format!("request-{}", REQUESTS.fetch_add(1, Ordering::Relaxed));
    app.send(&request.clone().header("X-Request-Id", &id));
    let of_request = |record: &Value| record["correlation_id"] == *id;
    let _ = app.service.wait_for_records(1, |record| of_request(record) && record["message"] == "answered");
    let mut records = app.service.records();
    records.retain(of_request);
    let line = |record: &Value| format!("{} {}\n", word(&record["level"]), word(&record["message"]));
    (records.iter().map(line).collect(), records)
}

const ADMITTED: &str = "\
debug callback received
debug authentication succeeded
debug payload valid
";

fn each_step_of_a_callback_is_logged_once_and_in_its_order(store: Store) {
    let app = TestApp::open(store);
    for payment in ["p", "rival"] {
        app.expect_payment(payment, "o");
    }
    app.register(&with(registration("card", "o2"), json!({ "paymentMethod": "card" })));
    let moved = "debug payment found\ndebug idempotency checked\ndebug payment status updated\n";
    let record = "debug method record updated\n";
    let paid = "debug payment.pay() completed the payment\ndebug order.pay() paid the order\n";
    let unpaid = "debug payment.pay() completed the payment\ndebug order.pay() did not pay the order\n";
    let stayed = "debug payment found\ndebug idempotency checked\n";
    let settled = "info notification settled\ninfo answered\n";
    for (body, steps) in [
        (notification("p", "o", "failed"), format!("{ADMITTED}{moved}{record}{settled}")),
        (notification("p", "o", "completed"), format!("{ADMITTED}{moved}{record}{paid}{settled}")),
        (notification("p", "o", "completed"), format!("{ADMITTED}{stayed}{settled}")),
        (notification("p", "o", "failed"), format!("{ADMITTED}{stayed}{settled}")),
        (partial_refund("p", "o", "2025-02-01T12:00:00Z"), format!("{ADMITTED}{stayed}{settled}")),
        (notification("p", "o", "refunded"), format!("{ADMITTED}{moved}{record}{settled}")),
        (
            notification("rival", "o", "completed"),
            format!(
                "{ADMITTED}{moved}{record}{unpaid}\
                 warn the money arrived but the order could not be paid\ninfo answered\n"
            ),
        ),
        (
            notification("card", "o2", "completed"),
            format!("{ADMITTED}{moved}{paid}warn the payment method differs; the registered one counts\n{settled}"),
        ),
        (
            notification("p", "another", "completed"),
            format!(
                "{ADMITTED}debug payment found\n\
                 warn notification contradicts the registered payment\nwarn answered\n"
            ),
        ),
        (
            notification("unknown", "o", "completed"),
            format!(
                "{ADMITTED}debug payment not found\n\
                 warn notification parked until its payment is registered\nwarn answered\n"
            ),
        ),
        (
            json!({ "paymentId": "p", "status": "completed" }),
            "debug callback received\ndebug authentication succeeded\nwarn payload invalid\n\
             warn notification could not be understood\nwarn answered\n"
                .to_owned(),
        ),
    ] {
        let (steps_written, records) = written_by(&app, &callback(&body));
        assert_eq!(steps_written, steps, "{body}");
        let named = |record: &&Value| record["payment_id"] == body["paymentId"];
        assert_eq!(
            records.iter().filter(named).count() + 3,
            records.len(),
            "all others name their payment: {records:#?}"
        );
    }
    let (steps, _) = written_by(&app, &Request::post(WEBHOOK).key("wrong").json("{}"));
    assert_eq!(steps, "debug callback received\nwarn authentication failed\nwarn answered\n");

    let settled = app.service.wait_for_records(1, |record| {
        record["message"] == "notification settled" && record["previous_status"] == "failed"
    });
    let stable = [
        "correlation_id",
        "delivery_id",
        "duration_ms",
        "event",
        "key_name",
        "level",
        "message",
        "new_status",
        "order_id",
        "outcome",
        "payment_id",
        "payment_method",
        "previous_status",
        "service",
        "source",
        "status",
        "timestamp",
    ];
    assert_eq!(BTreeSet::from_iter(names(&settled[0])), BTreeSet::from(stable));
}

fn a_callback_that_cannot_be_settled_is_logged_with_its_payment_its_order_and_the_error(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    app.store.execute("UPDATE external_payments SET method = 'barter'");
    let (steps, records) = written_by(&app, &callback(&notification("p", "o", "completed")));
    assert_eq!(steps, format!("{ADMITTED}error not carried out\nerror answered\n"));
    let failure = &records[3];
    assert_eq!((&failure["payment_id"], &failure["order_id"]), (&json!("p"), &json!("o")));
    assert!(word(&failure["error"]).contains("cannot be understood"), "{failure}");
    assert_eq!(names(&records[4]).iter().filter(|name| **name == "error").count(), 0, "an error is logged once");
}

fn what_is_not_a_callback_is_logged_too(store: Store) {
    let app = TestApp::open(store);
    app.callback(&notification("p", "o", "completed"));
    let by_portal = |target: &str| Request::post(target).key(PORTAL_KEY);
    let applied = "debug payment found\ndebug idempotency checked\ndebug payment status updated\n\
                   debug method record updated\ndebug payment.pay() completed the payment\n\
                   debug order.pay() paid the order\ninfo notification settled\n";
    let replay = format!("/api/deliveries/{}/replay", word(&app.deliveries("")[0]["deliveryId"]));
    let tried = Request::post(&format!("{replay}?dryRun=true")).key(OPERATOR_KEY);
    let redelivery = |target: &str| Request::post(target).key(OPERATOR_KEY);
    for (request, steps) in [
        (tried.clone(), "info replay tried; nothing changed\ninfo answered\n".to_owned()),
        (register(&registration("p", "o")), format!("info registration\n{applied}info answered\n")),
        (
            register(&with(registration("p", "o"), json!({ "amount": "1.00" }))),
            "info registration\nwarn answered\n".to_owned(),
        ),
        (by_portal("/api/orders/o/cancel"), "info cancellation\nwarn answered\n".to_owned()),
        (
            Request::post(&replay).key(OPERATOR_KEY),
            "info replay\ndebug payment found\ndebug idempotency checked\ninfo notification settled\ninfo answered\n"
                .to_owned(),
        ),
        (
            redelivery("/api/events/redeliver?dryRun=true"),
            "info redelivery tried; nothing changed\ninfo answered\n".to_owned(),
        ),
        (redelivery("/api/events/redeliver"), "info redelivery\ninfo answered\n".to_owned()),
        (redelivery("/api/events/x/redeliver"), "warn answered\n".to_owned()),
        (Request::get("/api/orders/o").key(PORTAL_KEY), "info answered\n".to_owned()),
        (Request::get("/api/orders/unknown").key(PORTAL_KEY), "warn answered\n".to_owned()),
    ] {
        let (written, records) = written_by(&app, &request);
        assert_eq!(written, format!("debug authentication succeeded\n{steps}"), "{request:?}");
        let timed = |record: &&Value| record["duration_ms"].is_number();
        assert!(records.iter().filter(timed).count() >= 1, "{records:#?}");
    }
    for probe in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(written_by(&app, &Request::get(probe)).0, "debug answered\n", "{probe} is asked for all the time");
    }
}

/// The records of these messages that a request has written, without what differs each time.
fn said(app: &TestApp, request: &Request, messages: &[&str]) -> Value {
    let (_, records) = written_by(app, request);
    let wanted = |record: &&Value| messages.contains(&&*word(&record["message"]));
    let mut records: Vec<Value> = records.iter().filter(wanted).cloned().collect();
    for record in &mut records {
        let members = record.as_object_mut().expect("an object");
        for varying in ["timestamp", "service", "correlation_id", "delivery_id", "replayed_delivery_id"] {
            members.remove(varying);
        }
        if let Some(took) = members.remove("duration_ms") {
            assert!(took.as_f64().is_some_and(|millis| (0.01..30_000.0).contains(&millis)), "{took} ms");
        }
        if let Some(key_name) = members.get_mut("key_name") {
            *key_name = word(key_name).get(..2).into();
        }
    }
    records.into()
}

fn the_records_say_what_happened(store: Store) {
    let app = TestApp::open(store);
    let registering = said(&app, &register(&registration("p", "o")), &["registration", "answered"]);
    assert_eq!(
        registering,
        json!([
            {
                "level": "info", "message": "registration", "applied": 0, "payment_id": "p", "order_id": "o",
                "payment_method": "webpay", "outcome": "registered", "key_name": "k-",
            },
            { "level": "info", "message": "answered", "method": "POST", "route": "/api/payments", "http_status": 201 },
        ])
    );
    let steps = [
        "authentication succeeded",
        "payment found",
        "idempotency checked",
        "payment status updated",
        "method record updated",
        "order.pay() paid the order",
    ];
    let named = |mut record: Value| {
        record["payment_id"] = "p".into();
        record["order_id"] = "o".into();
        record
    };
    let completing = said(&app, &callback(&notification("p", "o", "completed")), &steps);
    let moved = json!({ "level": "debug", "previous_status": "pending", "new_status": "completed" });
    assert_eq!(
        completing,
        json!([
            { "level": "debug", "message": steps[0], "key_name": "k-" },
            named(json!({
                "level": "debug", "message": steps[1], "previous_status": "pending", "registered_method": "webpay",
            })),
            named(json!({ "level": "debug", "message": steps[2], "finding": "new" })),
            named(with(moved.clone(), json!({ "message": steps[3] }))),
            named(with(moved, json!({ "message": steps[4], "registered_method": "webpay" }))),
            named(json!({ "level": "debug", "message": steps[5] })),
        ])
    );
    for (status, finding, outcome) in [("completed", "duplicate", "duplicate"), ("failed", "backwards", "ignored")] {
        let by_paypal = with(notification("p", "o", status), json!({ "paymentMethod": "paypal", "amount": "29.00" }));
        let differs = "the payment method differs; the registered one counts";
        let entry = named(json!({
            "source": "callback", "status": status, "event": status, "payment_method": "paypal", "amount": "29.00",
            "outcome": outcome, "previous_status": "completed", "new_status": "completed", "key_name": "k-",
        }));
        assert_eq!(
            said(&app, &callback(&by_paypal), &["idempotency checked", differs, "notification settled"]),
            json!([
                named(json!({ "level": "debug", "message": "idempotency checked", "finding": finding })),
                with(entry.clone(), json!({ "level": "warn", "message": differs, "registered_method": "webpay" })),
                with(entry, json!({ "level": "info", "message": "notification settled" })),
            ])
        );
    }
    let unapplied = {
        app.expect_payment("rival", "o");
        let request = callback(&notification("rival", "o", "completed"));
        said(&app, &request, &["order.pay() did not pay the order"])
    };
    assert_eq!(unapplied[0]["reason"], "order_paid");
    let invalid = said(&app, &callback(&json!({ "paymentId": "p", "status": 1 })), &["payload invalid", "answered"]);
    for record in invalid.as_array().expect("records") {
        let reason = word(&record["reason"]);
        assert!(reason.contains("status: must be a string; ") && reason.contains("orderId: is missing"), "{record}");
    }
    assert_eq!((&invalid[1]["code"], &invalid[1]["http_status"]), (&json!("invalid_payload"), &json!(400)));
    let cancelling = Request::post("/api/orders/o/cancel").key(PORTAL_KEY);
    assert_eq!(
        said(&app, &cancelling, &["cancellation", "answered"]),
        json!([
            { "level": "info", "message": "cancellation", "order_id": "o", "outcome": "paid", "key_name": "k-" },
            {
                "level": "warn", "message": "answered", "method": "POST", "route": "/api/orders/{id}/cancel",
                "http_status": 409, "code": "order_paid", "reason": "the order has been paid",
            },
        ])
    );
    let again = word(&app.deliveries("?outcome=duplicate")[0]["deliveryId"]);
    let replay = Request::post(&format!("/api/deliveries/{again}/replay?dryRun=true")).key(OPERATOR_KEY);
    assert_eq!(
        said(&app, &replay, &["replay tried; nothing changed"])[0]["key_name"],
        "k-",
        "it says who has tried it"
    );
    let (_, records) = written_by(&app, &replay);
    assert!(records.iter().any(|record| record["replayed_delivery_id"] == *again), "{records:#?}");
    let event = word(&app.events("?payment=p")[0]["eventId"]);
    let (done, tried) = ("redelivery", "redelivery tried; nothing changed");
    let of_two = json!({
        "level": "info", "order_id": "o", "state": "pending", "since": "2020-01-01T00:00:00.000000Z", "count": 2,
        "key_name": "k-",
    });
    let many = "redeliver?order=o&state=pending&since=2020-01-01T00:00:00Z";
    for (target, record) in [
        (
            format!("{event}/redeliver"),
            json!({ "level": "info", "message": done, "event_id": event, "count": 1, "key_name": "k-" }),
        ),
        (many.to_owned(), with(of_two.clone(), json!({ "message": done }))),
        (format!("{many}&dryRun=true"), with(of_two, json!({ "message": tried }))),
    ] {
        let request = Request::post(&format!("/api/events/{target}")).key(OPERATOR_KEY);
        assert_eq!(said(&app, &request, &[done, tried]), json!([record]), "{target}");
    }
}

fn who_is_refused_and_who_is_admitted_is_logged_for_every_group_of_callers(store: Store) {
    let settings = [("WEBHOOK_AUTH", "signature"), ("PAYMENT_WEBHOOK_SECRET", SECRET)];
    let app = TestApp::with(store, &settings);
    let body = notification("p", "o", "completed").to_string();
    for (request, message) in [
        (signed(&body, SECRET, now()), "authentication succeeded"),
        (signed(&body, OTHER_SECRET, now()), "authentication failed"),
        (Request::post(WEBHOOK).json(&*body), "authentication failed"),
        (Request::get("/api/orders/o").key("wrong"), "authentication failed"),
        (Request::get("/api/deliveries"), "authentication failed"),
        (Request::get("/api/deliveries").key(OPERATOR_KEY), "authentication succeeded"),
    ] {
        let (written, records) = written_by(&app, &request);
        let said: Vec<_> = records.iter().filter(|record| record["message"] == message).collect();
        assert_eq!(said.len(), 1, "{written}");
        let detail = if message == "authentication failed" { "reason" } else { "key_name" };
        assert!(!word(&said[0][detail]).is_empty(), "{said:?}");
    }
}

fn an_answer_by_the_deadline_is_logged_and_what_came_of_the_callback_too(store: Store) {
    let app = TestApp::with(store, &[("RESPONSE_DEADLINE_MS", "200")]);
    app.expect_payment("p", "o");
    let held = app.store.hold();
    let request = callback(&notification("p", "o", "completed")).header("X-Request-Id", "late");
    assert_eq!(app.send(&request).status, 503);
    let of_request = |record: &Value, message: &str| record["correlation_id"] == "late" && record["message"] == message;
    let answered = app.service.wait_for_records(1, |record| of_request(record, "answered"));
    assert_eq!((&answered[0]["level"], &answered[0]["http_status"]), (&json!("error"), &json!(503)));
    drop(held);
    let ended = |record: &Value| of_request(record, "notification settled") || of_request(record, "not carried out");
    assert_eq!(app.service.wait_for_records(1, ended)[0]["payment_id"], "p");
    let refused = Request::post("/api/orders/o/cancel").key(PORTAL_KEY).header("X-Request-Id", "held-up");
    let held = app.store.hold();
    assert_eq!(app.send(&refused).status, 503);
    let failure = |record: &Value| record["correlation_id"] == "held-up" && record["message"] == "not carried out";
    let failure = &app.service.wait_for_records(1, failure)[0];
    assert_eq!(failure["order_id"], "o");
    assert!(!word(&failure["error"]).is_empty());
    drop(held);
}

fn a_caller_who_has_gone_is_noted(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let held = app.store.hold();
    let mut connection = app.service.connect().expect("a connection");
    let request = callback(&notification("p", "o", "completed")).header("X-Request-Id", "hasty");
    connection.send(&request.bytes()).expect("a request that is sent");
    let valid = |record: &Value| record["correlation_id"] == "hasty" && record["message"] == "payload valid";
    let _ = app.service.wait_for_records(1, valid);
    connection.reset().expect("a connection that is reset");
    let gone = |record: &Value| record["message"] == "not answered: the caller has gone";
    let gone = &app.service.wait_for_records(1, gone)[0];
    assert_eq!((&gone["correlation_id"], &gone["route"]), (&json!("hasty"), &json!(WEBHOOK)));
    drop(held);
    let settled = |record: &Value| record["correlation_id"] == "hasty" && record["message"] == "notification settled";
    let _ = app.service.wait_for_records(1, settled);
    app.assert_order("o", "paid", Some("p"));
}

/// The page on the log lists every message that these tests see, and the code no other.
#[test]
fn every_message_is_documented() {
    let page = include_str!("../../../../docs/logging.md");
    let sources = [
        include_str!("../../../adapters-http/src/request_log.rs"),
        include_str!("../../../telemetry/src/records.rs"),
        include_str!("../../src/commands/serve.rs"),
        include_str!("../../src/settings/keys.rs"),
        include_str!("../../src/settings/logging.rs"),
    ];
    let mut messages = 0;
    for call in sources.iter().flat_map(|source| source.split("!(").skip(1)) {
        let call = call.trim_start();
        let Some(rest) =
            ["self.log, \"", "log, \"", "correlated, \""].iter().find_map(|start| call.strip_prefix(start))
        else {
            continue;
        };
        let message = rest.split('"').next().expect("the end of a text");
        assert!(page.contains(&format!("| `{message}` |")), "docs/logging.md lists {message:?}");
        messages += 1;
    }
    assert!(messages > 20, "the messages were found");
}
