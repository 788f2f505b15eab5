//! The answers to a callback, and which of them comes first (contract §3).

use serde_json::{Value, json};
use simulator::Request;

use crate::test_app::{
    OPERATOR_KEY, PAYMENT_KEY, PORTAL_KEY, Store, TestApp, WEBHOOK, assert_problem, assert_settled, bad_fields,
    callback, deflate, gzip, names, notification, registration, sha256, with, word,
};

on_both_stores! {
    the_first_check_that_fails_answers,
    another_method_is_told_which_one_to_use,
    head_is_answered_like_get_without_a_body,
    slashes_too_many_change_nothing,
    no_answer_may_be_kept_or_taken_for_something_else,
    only_json_is_taken,
    a_body_may_be_coded_in_one_of_two_ways,
    another_coding_is_refused,
    a_body_may_be_as_large_as_the_limit_and_no_larger,
    nothing_redirects,
    every_answer_bears_a_request_id,
    a_success_says_what_was_settled,
    a_mismatch_changes_nothing_and_is_kept,
    a_ledger_that_cannot_be_understood_is_a_processing_error,
}

const SMALL_BODIES: [(&str, &str); 1] = [("BODY_BYTES_MAX", "1024")];

fn the_first_check_that_fails_answers(store: Store) {
    let app = TestApp::with(store, &SMALL_BODIES);
    app.expect_payment("p", "o");
    let valid = |changes: Value| with(notification("p", "o", "completed"), changes).to_string();
    let large = || "x".repeat(1025);
    let post = || Request::post(WEBHOOK);
    let form = "application/x-www-form-urlencoded";
    // Each has one fault less than the one before it.
    for (request, status, code) in [
        (
            Request::new("PUT", WEBHOOK).key("wrong").header("Content-Type", form).body(large()),
            405,
            "method_not_allowed",
        ),
        (post().key("wrong").header("Content-Type", form).body(large()), 401, "unauthorized"),
        (post().key(PAYMENT_KEY).header("Content-Type", form).body(large()), 415, "unsupported_media_type"),
        (post().key(PAYMENT_KEY).json(large()), 413, "payload_too_large"),
        (post().key(PAYMENT_KEY).json("x"), 400, "invalid_payload"),
        (post().key(PAYMENT_KEY).json(valid(json!({ "paymentId": "?", "status": "?" }))), 400, "invalid_payload"),
        (post().key(PAYMENT_KEY).json(valid(json!({ "paymentId": "?", "orderId": "?" }))), 404, "payment_not_found"),
        (
            post().key(PAYMENT_KEY).json(valid(json!({ "orderId": "?", "amount": 1, "currency": "CZK" }))),
            400,
            "order_mismatch",
        ),
        (post().key(PAYMENT_KEY).json(valid(json!({ "amount": 1, "currency": "CZK" }))), 400, "amount_mismatch"),
        (post().key(PAYMENT_KEY).json(valid(json!({ "amount": 29, "currency": "CZK" }))), 400, "currency_mismatch"),
    ] {
        let problem = assert_problem(&app.send(&request), status, code);
        let mut expected = vec!["code", "detail", "requestId", "status", "title", "type"];
        match code {
            "invalid_payload" => expected.insert(2, "errors"),
            "payment_not_found" => expected.insert(2, "parked"),
            _ => {}
        }
        assert_eq!(names(&problem), expected);
        assert!(problem.get("parked").is_none_or(|parked| *parked == json!(true)));
    }
    assert_settled(&app.send(&post().key(PAYMENT_KEY).json(valid(json!({})))), "completed");
}

fn another_method_is_told_which_one_to_use(store: Store) {
    let app = TestApp::open(store);
    for (target, allowed) in [
        ("/api/payments/webhook", "POST"),
        ("/api/payments/webhook?success=true", "POST"),
        ("/api/payments", "POST"),
        ("/api/marathon/payment/register", "POST"),
        ("/api/payments/p", "GET, HEAD"),
        ("/api/orders/o", "GET, HEAD"),
        ("/api/orders/o/cancel", "POST"),
        ("/api/deliveries", "GET, HEAD"),
        ("/api/deliveries/d", "GET, HEAD"),
        ("/api/deliveries/d/replay", "POST"),
        ("/api/events", "GET, HEAD"),
        ("/api/events/e", "GET, HEAD"),
        ("/api/events/e/redeliver", "POST"),
        ("/api/events/redeliver", "POST"),
        ("/healthz", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
        ("/docs", "GET, HEAD"),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"] {
            if !allowed.contains(method) {
                let answer = app.send(&Request::new(method, target));
                assert_problem(&answer, 405, "method_not_allowed");
                assert_eq!(answer.header("allow"), Some(allowed), "{method} {target}");
            }
        }
    }
    let head = app.send(&Request::new("HEAD", WEBHOOK));
    assert_eq!((head.status, head.header("allow")), (405, Some("POST")));
}

fn head_is_answered_like_get_without_a_body(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let delivery = app.callback(&notification("p", "o", "completed")).json()["deliveryId"].clone();
    let delivery = format!("/api/deliveries/{}", word(&delivery));
    let event = format!("/api/events/{}", word(&app.events("")[0]["eventId"]));
    for (target, key, status) in [
        ("/healthz", "", 200),
        ("/readyz", "", 200),
        ("/docs", "", 200),
        ("/docs/start.js", "", 200),
        ("/docs/swagger-ui.css", "", 200),
        ("/api/openapi.json", "", 200),
        ("/api/payments/p", PORTAL_KEY, 200),
        ("/api/payments/p", "wrong", 401),
        ("/api/payments/unknown", PORTAL_KEY, 404),
        ("/api/orders/o", PORTAL_KEY, 200),
        ("/api/deliveries", OPERATOR_KEY, 200),
        ("/api/deliveries?limit=x", OPERATOR_KEY, 400),
        (&delivery, OPERATOR_KEY, 200),
        ("/api/events", OPERATOR_KEY, 200),
        ("/api/events?state=x", OPERATOR_KEY, 400),
        (&event, OPERATOR_KEY, 200),
        ("/nowhere", "", 404),
    ] {
        let mut connection = app.service.connect().expect("a connection");
        let mut answers = ["GET", "HEAD"].map(|method| {
            let request = Request::new(method, target).key(key).header("X-Request-Id", "same");
            let mut answer = connection.exchange(&request).expect("an answer");
            answer.headers.retain(|(name, _)| name != "date");
            answer.headers.sort();
            answer
        });
        assert_eq!((answers[0].status, answers[1].body.len()), (status, 0), "{target}");
        answers[0].body.clear();
        assert_eq!(answers[0], answers[1], "{target}");
        assert_eq!(connection.exchange(&Request::get("/healthz")).expect("an answer").status, 200, "{target}");
    }
    // It differs from one moment to the next.
    assert_eq!(app.send(&Request::new("HEAD", "/metrics")).status, 200);
}

fn slashes_too_many_change_nothing(store: Store) {
    let app = TestApp::open(store);
    for (index, target) in [
        "/api/payments/webhook/",
        "//api/payments/webhook",
        "/api//payments///webhook//",
        "/api/payments/webhook/?success=true",
        "http://portal.example//api/payments/webhook",
    ]
    .into_iter()
    .enumerate()
    {
        let (payment, order) = (format!("p{index}"), format!("o{index}"));
        let registrations = ["/api/payments/", "//api/payments", "/api/marathon/payment/register/", "/api//payments/"];
        let register = Request::post(registrations[index % registrations.len()]).key(PORTAL_KEY);
        let registered = app.send(&register.json(registration(&payment, &order).to_string()));
        assert_eq!(registered.status, 201, "{}", registered.json());
        let completed = notification(&payment, &order, "completed").to_string();
        let answer = app.send(&Request::post(target).key(PAYMENT_KEY).json(completed));
        assert_settled(&answer, "completed");
        assert_eq!(answer.header("location"), None);
    }
    let routes = app.service.wait_for_records(5, |record| record["route"] == WEBHOOK);
    assert!(routes.iter().all(|record| record["http_status"] == 200), "{routes:#?}");
    for target in ["//api/payments/p1", "/api/payments/p1/", "/api//orders/o1//", "//healthz/"] {
        assert_eq!(app.get(PORTAL_KEY, target).status, 200, "{target}");
    }
    // Those of an id are encoded, and its own.
    app.expect_payment("/p//1/", "/o//1/");
    assert_eq!(app.payment("/p//1/")["payment"]["paymentId"], "/p//1/");
    assert_eq!(app.get(PORTAL_KEY, "/api/payments/%2Fp%2F1%2F").status, 404);
    for nowhere in ["/", "//", "//?x=1", "/api/payments/webhook/x/", "/api"] {
        assert_problem(&app.get(PORTAL_KEY, nowhere), 404, "not_found");
    }
}

fn no_answer_may_be_kept_or_taken_for_something_else(store: Store) {
    let app = TestApp::with(store, &[("RESPONSE_DEADLINE_MS", "500")]);
    app.expect_payment("p", "o");
    let half = {
        let mut connection = app.service.connect().expect("a connection");
        let bytes = callback(&notification("p", "o", "completed")).bytes();
        connection.send(&bytes[..bytes.len() - 10]).expect("an open connection");
        connection.receive().expect("an answer")
    };
    assert_eq!(half.status, 503);
    for answer in [
        half,
        app.callback(&notification("p", "o", "completed")),
        app.callback(&notification("unknown", "o", "completed")),
        app.callback(&json!({})),
        app.register(&registration("p", "o")),
        app.get(PORTAL_KEY, "/api/payments/p"),
        app.get(PORTAL_KEY, "/api/orders/o"),
        app.get(PORTAL_KEY, "/api/orders/unknown"),
        app.get("wrong", "/api/orders/o"),
        app.get(OPERATOR_KEY, "/api/deliveries"),
        app.send(&Request::get(WEBHOOK)),
        app.send(&Request::get("/metrics")),
        app.send(&Request::get("/readyz")),
        app.send(&Request::get("/nowhere")),
    ] {
        let headers = ["cache-control", "x-content-type-options"].map(|name| answer.header(name));
        assert_eq!(headers, [Some("no-store"), Some("nosniff")], "{answer:?}");
    }
}

fn only_json_is_taken(store: Store) {
    let app = TestApp::open(store);
    let body = notification("unknown", "o", "completed").to_string();
    let request = || Request::post(WEBHOOK).key(PAYMENT_KEY).body(body.clone());
    for refused in [
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/plain",
        "text/json",
        "application/jsonx",
        "json",
        "",
    ] {
        assert_problem(&app.send(&request().header("Content-Type", refused)), 415, "unsupported_media_type");
    }
    assert_problem(&app.send(&request()), 415, "unsupported_media_type");
    for taken in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        "application/json ; charset=utf-8",
        "application/json\t;charset=utf-8",
        " application/json \t",
        "application/json;",
        "application/json ;;",
    ] {
        assert_problem(&app.send(&request().header("Content-Type", taken)), 404, "payment_not_found");
    }
    let registration = Request::post("/api/payments").key(PORTAL_KEY).header("Content-Type", "text/plain").body("{}");
    assert_problem(&app.send(&registration), 415, "unsupported_media_type");
}

/// What every route that takes a body is sent in these tests: the address, the key, and a body.
fn with_bodies(payment: &str) -> [(&'static str, &'static str, String); 3] {
    let registering = registration(payment, "o").to_string();
    [
        (WEBHOOK, PAYMENT_KEY, notification(payment, "o", "completed").to_string()),
        ("/api/payments", PORTAL_KEY, registering.clone()),
        ("/api/marathon/payment/register", PORTAL_KEY, registering),
    ]
}

fn a_body_may_be_coded_in_one_of_two_ways(store: Store) {
    let app = TestApp::with(store, &SMALL_BODIES);
    for (coding, encode) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("GZip", gzip), ("deflate", deflate)] {
        for (target, key, body) in with_bodies(coding) {
            let sent = |body: Vec<u8>| {
                let request = Request::post(target).key(key).header("Content-Encoding", coding).json(body);
                app.send(&request)
            };
            let coded = encode(body.as_bytes());
            let answer = sent(coded.clone());
            assert!(
                answer.status == 201 || answer.json()["parked"] == true || answer.json()["status"] == "exists",
                "{coding} at {target}: {}",
                answer.json()
            );
            // Spaces take next to nothing, and what comes out counts.
            let padded = |size: usize| body.clone() + &" ".repeat(size - body.len());
            assert!([200, 404].contains(&sent(encode(padded(1024).as_bytes())).status), "{coding} at {target}");
            for bomb in [1025, 50_000_000] {
                assert_problem(&sent(encode(padded(bomb).as_bytes())), 413, "payload_too_large");
            }
            assert_problem(&sent(vec![b' '; 3000]), 413, "payload_too_large");
            for broken in [body.clone().into_bytes(), coded[..coded.len() - 3].to_vec(), [&*coded, b"x"].concat()] {
                assert_eq!(bad_fields(&assert_problem(&sent(broken), 400, "invalid_payload")), ["body"]);
            }
        }
    }
    let broken = &app.deliveries("?outcome=invalid&limit=1")[0];
    assert_eq!(broken["reason"], "body: must be what its Content-Encoding says");
    app.expect_payment("coded", "o2");
    let coded = gzip(notification("coded", "o2", "completed").to_string().as_bytes());
    let request = Request::post(WEBHOOK).key(PAYMENT_KEY).header("Content-Encoding", "gzip").json(coded.clone());
    assert_settled(&app.send(&request), "completed");
    assert_eq!(
        app.deliveries("?payment=coded&limit=1")[0]["bodySha256"],
        sha256(&coded),
        "of the bytes as they were sent"
    );
}

fn another_coding_is_refused(store: Store) {
    let app = TestApp::open(store);
    for (target, key, body) in with_bodies("p") {
        let request = || Request::post(target).key(key).json(body.clone());
        for coding in ["br", "zstd", "compress", "x", "gzip, gzip", "identity, gzip", "gzip;q=1"] {
            let answer = app.send(&request().header("Content-Encoding", coding));
            assert_problem(&answer, 415, "unsupported_media_type");
        }
        let twice = request().header("Content-Encoding", "identity").header("Content-Encoding", "gzip");
        assert_problem(&app.send(&twice), 415, "unsupported_media_type");
        let stranger = Request::post(target).key("wrong").header("Content-Encoding", "br").json("x");
        assert_problem(&app.send(&stranger), 401, "unauthorized");
    }
    assert_eq!(app.deliveries(""), [json!(null); 0]);
    for coding in ["identity", "Identity", ""] {
        let (target, key, body) = with_bodies(&format!("p {coding}"))[1].clone();
        let answer = app.send(&Request::post(target).key(key).json(body).header("Content-Encoding", coding));
        assert_eq!(answer.status, 201, "{coding:?}");
    }
}

fn a_body_may_be_as_large_as_the_limit_and_no_larger(store: Store) {
    let app = TestApp::with(store, &SMALL_BODIES);
    let body = |size: usize| {
        let body = with(notification("unknown", "o", "completed"), json!({ "padding": "" })).to_string();
        let padding = "x".repeat(size - body.len());
        body.replace(r#""padding":"""#, &format!(r#""padding":"{padding}""#))
    };
    let chunked = |body: &str| {
        let head = Request::post(WEBHOOK)
            .key(PAYMENT_KEY)
            .header("Content-Type", "application/json")
            .header("Transfer-Encoding", "chunked")
            .bytes();
        let (one, other) = body.split_at(500);
        let chunks = format!("{:x}\r\n{one}\r\n{:x}\r\n{other}\r\n0\r\n\r\n", one.len(), other.len());
        [head, chunks.into_bytes()].concat()
    };
    let whole = |body: &str| Request::post(WEBHOOK).key(PAYMENT_KEY).json(body).bytes();
    for send in [&whole as &dyn Fn(&str) -> Vec<u8>, &chunked] {
        let answer = |size| app.service.replay(&send(&body(size))).expect("an answer");
        assert_problem(&answer(1024), 404, "payment_not_found");
        assert_problem(&answer(1025), 413, "payload_too_large");
    }
    let registration = Request::post("/api/payments").key(PORTAL_KEY).json(body(1025));
    assert_problem(&app.send(&registration), 413, "payload_too_large");
}

fn nothing_redirects(store: Store) {
    let app = TestApp::open(store);
    for target in [
        "/",
        "/api",
        "/api/payments/webhook/",
        "//api/payments/webhook",
        "/api/payments/webhook//",
        "/API/payments/webhook",
        "/api/payments/",
        "/api/orders/",
        "/favicon.ico",
    ] {
        for method in ["GET", "POST"] {
            let request = Request::new(method, target).key(PAYMENT_KEY).json("{}");
            let answer = app.send(&request);
            assert!((400..500).contains(&answer.status), "{method} {target}: {}", answer.status);
            assert_problem(&answer, answer.status, &word(&answer.json()["code"]));
        }
    }
    assert_problem(&app.send(&Request::get("/api/nothing")), 404, "not_found");
}

fn every_answer_bears_a_request_id(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let success = || callback(&notification("p", "o", "processing"));
    let problem = || callback(&json!({}));
    let longest = "x".repeat(128);
    for kept in ["a", "Az09._:-", &longest] {
        for request in [success(), problem()] {
            let answer = app.send(&request.header("X-Request-Id", kept));
            assert_eq!(answer.header("x-request-id"), Some(kept));
        }
    }
    let too_long = "x".repeat(129);
    let mut fresh = std::collections::HashSet::new();
    for replaced in ["", "a b", "a/b", "ě", "<script>", &too_long] {
        for request in [success(), problem()] {
            let answer = app.send(&request.header("X-Request-Id", replaced));
            let id = answer.header("x-request-id").expect("an id").to_owned();
            assert!(id != replaced && (1..=128).contains(&id.len()), "{id}");
            assert!(fresh.insert(id), "no two are the same");
        }
    }
    assert!(fresh.insert(app.send(&success()).header("x-request-id").expect("an id").to_owned()));
    let unknown = app.send(&Request::get("/nowhere").header("X-Request-Id", "mine"));
    assert_eq!(assert_problem(&unknown, 404, "not_found")["requestId"], "mine");
}

fn a_success_says_what_was_settled(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let answer = app.callback(&notification("p", "o", "completed"));
    assert_settled(&answer, "completed");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document = answer.json();
    assert_eq!(names(&document), ["deliveryId", "orderId", "outcome", "paymentId", "status"]);
    assert_eq!((&document["paymentId"], &document["orderId"]), (&json!("p"), &json!("o")));
    assert_eq!(document["deliveryId"], app.deliveries("")[0]["deliveryId"]);
}

fn a_mismatch_changes_nothing_and_is_kept(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    app.expect_payment("p2", "o2");
    let before = (app.payment("p")["payment"].clone(), app.order("o"), app.order("o2"));
    let completed = |changes| with(notification("p", "o", "completed"), changes);
    for (changes, code) in [
        (json!({ "orderId": "o2" }), "order_mismatch"),
        (json!({ "orderId": "nowhere" }), "order_mismatch"),
        (json!({ "amount": "29.01" }), "amount_mismatch"),
        (json!({ "amount": 28.999 }), "amount_mismatch"),
        (json!({ "currency": "USD" }), "currency_mismatch"),
    ] {
        assert_problem(&app.callback(&completed(changes)), 400, code);
        let delivery = &app.payment("p")["deliveries"][0];
        assert_eq!((&delivery["outcome"], &delivery["reason"]), (&json!("rejected"), &json!(code)));
        assert_eq!((&delivery["previousStatus"], &delivery["newStatus"]), (&json!("pending"), &json!("pending")));
    }
    assert_eq!((app.payment("p")["payment"].clone(), app.order("o"), app.order("o2")), before);
    assert_eq!(app.store.events(), [""; 0]);
    assert_settled(&app.callback(&completed(json!({ "amount": 29.0, "currency": "eur" }))), "completed");
}

fn a_ledger_that_cannot_be_understood_is_a_processing_error(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    app.expect_payment("p2", "o2");
    app.store.execute("UPDATE external_payments SET currency = 'dubloons' WHERE payment_id = 'p'");
    let answer = app.callback(&notification("p", "o", "completed"));
    assert_problem(&answer, 500, "processing_error");
    assert!(!String::from_utf8_lossy(&answer.body).contains("dubloons"), "the caller need not know");
    assert_settled(&app.callback(&notification("p2", "o2", "completed")), "completed");
    assert_problem(&app.get(PORTAL_KEY, "/api/payments/p"), 500, "processing_error");
}
