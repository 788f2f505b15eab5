//! What the service writes down, and what it never does (contract §2, §3).

use serde_json::{Value, json};
use simulator::Request;

use crate::stage::{
    OPERATOR_KEY, PAYMENT_KEY, PORTAL_KEY, Stage, Store, WEBHOOK, callback, notification, register, registration, with,
};

on_both_stores! {
    every_line_is_a_record,
    all_records_of_a_request_bear_its_id,
    nothing_secret_and_nothing_about_a_customer_is_logged,
    the_level_decides_what_is_logged,
}

fn every_line_is_a_record(store: Store) {
    let mut stage = Stage::with(store, &[("LOG_LEVEL", "debug"), ("SERVICE_NAME", "callbacks_1-a")]);
    stage.expect_payment("p", "o");
    stage.callback(&notification("p", "o", "completed"));
    stage.callback(&json!({ "status": "a\nb" }));
    stage.get(PORTAL_KEY, "/api/orders/a%0Ab");
    assert_eq!(stage.service.stop().expect("an end").code, Some(0));
    let (lines, records) = (stage.service.lines(), stage.service.records());
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
    let stage = Stage::with(store, &[("LOG_LEVEL", "debug")]);
    stage.callback(&notification("p", "o", "completed"));
    let traced = |id: &str, request: Request, message: &str| {
        let answer = stage.send(&request.header("X-Request-Id", id));
        assert_eq!(answer.header("x-request-id"), Some(id));
        let answered = |record: &Value| record["correlation_id"] == id && record["http_status"] == answer.status;
        let answered = stage.service.wait_for_records(1, answered);
        assert!(answered[0]["duration_ms"].is_number(), "{answered:#?}");
        let mut records = stage.service.records();
        records.retain(|record| record["correlation_id"] == id);
        assert!(records.iter().any(|record| record["message"] == message), "{records:#?}");
    };
    let register = register(&registration("p", "o"));
    traced("registering", register, "registration");
    traced("settling", callback(&notification("p", "o", "failed")), "notification settled");
    traced("parking", callback(&notification("p2", "o2", "failed")), "notification not settled");
    traced("invalid", callback(&json!({})), "notification not settled");
    traced("cancelling", Request::post("/api/orders/o/cancel").key(PORTAL_KEY), "cancellation");
    // What waited for its payment is settled in the request that registered it.
    let applied = stage.service.wait_for_records(1, |record| record["outcome"] == "completed");
    assert_eq!(applied[0]["correlation_id"], "registering");

    let started = ["starting", "migration applied", "listening"];
    let of_no_request = |record: &&Value| record["correlation_id"].is_null();
    let records = stage.service.records();
    let others: Vec<_> = records.iter().filter(of_no_request).filter_map(|record| record["message"].as_str()).collect();
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
    let mut stage = Stage::with(store, &settings);
    let marked = json!({
        "email": "marked@example.invalid", "title": "marked", "redirectUrl": "https://marked.example/marked",
        "userId": "marked", "invoiceNumber": "marked",
        "metadata": { "customer": "marked", "providerTransactionId": 17, "marked": { "marked": "marked" } },
    });
    stage.register(&with(registration("p", "o"), marked.clone()));
    stage.register(&with(registration("", "o"), marked.clone()));
    for status in ["failed", "completed", "marked"] {
        stage.callback(&with(notification("p", "o", status), marked.clone()));
    }
    for name in ["paymentMethod", "event", "timestamp", "amount", "currency", "metadata", "marked"] {
        stage.callback(&with(notification("p", "o", "completed"), json!({ name: "marked" })));
    }
    for body in ["marked", "{\"marked\":marked}", "{\"marked\":1,\"marked\":1}", "{\"a\":\"marked"] {
        stage.send(&Request::post(WEBHOOK).key(PAYMENT_KEY).json(body));
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
        stage.send(&request);
    }
    assert_eq!(stage.service.stop().expect("an end").code, Some(0));
    let lines = stage.service.lines();
    assert!(lines.iter().any(|line| line.contains("notification settled")));
    let telling: Vec<_> = lines.iter().filter(|line| line.contains("marked") || line.contains("bWFya2Vk")).collect();
    assert!(telling.is_empty(), "{telling:#?}");
    assert!(!lines.iter().any(|line| line.contains(PAYMENT_KEY) || line.contains("postgres://")));
}

fn the_level_decides_what_is_logged(store: Store) {
    let levels = |stage: &mut Stage| {
        stage.expect_payment("p", "o");
        stage.callback(&notification("p", "o", "completed"));
        stage.callback(&json!({}));
        assert_eq!(stage.service.stop().expect("an end").code, Some(0));
        let mut levels: Vec<_> = stage.service.records().iter().map(|record| record["level"].to_string()).collect();
        levels.sort();
        levels.dedup();
        levels
    };
    let mut stage = Stage::open(store);
    assert_eq!(levels(&mut stage), ["\"info\"", "\"warn\""]);
}
