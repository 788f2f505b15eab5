//! Who may call (contract §3, §5, §6).

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use simulator::Request;
use standardwebhooks::Webhook;

use crate::test_app::{
    OPERATOR_KEY, PAYMENT_KEY, PORTAL_KEY, Store, TestApp, WEBHOOK, assert_problem, assert_settled, gzip, notification,
};

on_both_stores! {
    a_callback_must_bear_one_key_that_is_known,
    keys_are_rotated_by_having_two,
    each_group_of_callers_has_its_own_keys,
    where_no_keys_are_set_nobody_may_call,
    a_signature_is_as_good_as_a_key_where_it_is_asked_for,
    what_is_not_well_signed_is_refused,
    secrets_are_rotated_by_having_two,
    where_both_are_asked_for_each_is_required,
    a_signed_body_has_the_same_limit,
    what_is_signed_is_what_is_compressed,
    who_is_not_known_leaves_no_trace_in_the_ledger,
}

// "whsec_" and base64, as Standard Webhooks wants it.
pub(crate) const SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cywgMzIgYnl0ZXMgbG9uZw==";
pub(crate) const OTHER_SECRET: &str = "whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3RzLCAzMmJ5dGVz";
const BY_SIGNATURE: [(&str, &str); 3] =
    [("WEBHOOK_AUTH", "signature"), ("PAYMENT_WEBHOOK_SECRET", SECRET), ("PAYMENT_API_KEY", "")];

pub(crate) fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "a sender has a clock of its own")]
    let age = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(age.as_secs()).expect("a clock of this age")
}

/// A callback as a sender with this secret signs it at this time.
pub(crate) fn signed(body: &str, secret: &str, timestamp: i64) -> Request {
    let signature = Webhook::new(secret).and_then(|webhook| webhook.sign("msg_1", timestamp, body.as_bytes()));
    unsigned(body)
        .header("webhook-id", "msg_1")
        .header("webhook-timestamp", &timestamp.to_string())
        .header("webhook-signature", &signature.expect("a secret to sign with"))
}

fn unsigned(body: &str) -> Request {
    Request::post(WEBHOOK).json(body)
}

fn completed() -> String {
    notification("p", "o", "completed").to_string()
}

fn a_callback_must_bear_one_key_that_is_known(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let request = || unsigned(&completed());
    for refused in [
        request(),
        request().key(""),
        request().key("wrong"),
        request().key(&PAYMENT_KEY.to_uppercase()),
        request().key(&format!("{PAYMENT_KEY}x")),
        request().key(&PAYMENT_KEY[1..]),
        request().key(PORTAL_KEY),
        request().key(OPERATOR_KEY),
        request().key(PAYMENT_KEY).key(PAYMENT_KEY),
        request().key(PAYMENT_KEY).key("wrong"),
        request().header("Authorization", &format!("Bearer {PAYMENT_KEY}")),
    ] {
        assert_problem(&app.send(&refused), 401, "unauthorized");
    }
    app.assert_order("o", "pending", None);
    assert_settled(&app.send(&request().header("x-api-KEY", PAYMENT_KEY)), "completed");
}

fn keys_are_rotated_by_having_two(store: Store) {
    let keys =
        [("PAYMENT_API_KEY", "old-key, new-key,"), ("PORTAL_API_KEY", "old,new"), ("OPERATOR_API_KEY", "old,new")];
    let app = TestApp::with(store, &keys);
    for (key, outcome) in [("old-key", "parked"), ("new-key", "parked")] {
        assert_problem(&app.send(&unsigned(&completed()).key(key)), 404, "payment_not_found");
        let delivery = &app.send(&Request::get("/api/deliveries?limit=1").key("new")).json()["deliveries"][0];
        assert_eq!(delivery["outcome"], outcome);
    }
    for key in ["old-key, new-key,", "old-key,new-key", ",", ""] {
        assert_problem(&app.send(&unsigned(&completed()).key(key)), 401, "unauthorized");
    }
    for key in ["old", "new"] {
        assert_problem(&app.send(&Request::get("/api/orders/o").key(key)), 404, "not_found");
        assert_eq!(app.send(&Request::get("/api/deliveries").key(key)).status, 200);
    }
    let deliveries = app.send(&Request::get("/api/deliveries").key("old")).json();
    let names: Vec<_> = (0..2).map(|index| deliveries["deliveries"][index]["keyName"].clone()).collect();
    // SHA-256 of "new-key" and "old-key" begin like this.
    assert_eq!(names, [json!("k-479a61d5"), json!("k-762c08fc")]);
}

const PORTAL_ROUTES: [(&str, &str); 5] = [
    ("POST", "/api/payments"),
    ("POST", "/api/marathon/payment/register"),
    ("GET", "/api/payments/p"),
    ("GET", "/api/orders/o"),
    ("POST", "/api/orders/o/cancel"),
];
const OPERATOR_ROUTES: [(&str, &str); 7] = [
    ("GET", "/api/deliveries?limit=x"),
    ("GET", "/api/deliveries/d"),
    ("POST", "/api/deliveries/d/replay?dryRun=x"),
    ("GET", "/api/events?limit=x"),
    ("GET", "/api/events/e"),
    ("POST", "/api/events/e/redeliver"),
    ("POST", "/api/events/redeliver?dryRun=x"),
];

fn each_group_of_callers_has_its_own_keys(store: Store) {
    let app = TestApp::open(store);
    for (routes, own) in [(&PORTAL_ROUTES[..], PORTAL_KEY), (&OPERATOR_ROUTES[..], OPERATOR_KEY)] {
        for (method, target) in routes {
            let request = || Request::new(method, target);
            for key in [PAYMENT_KEY, PORTAL_KEY, OPERATOR_KEY, "wrong"] {
                let answer = app.send(&request().key(key));
                assert_eq!(answer.status != 401, key == own, "{method} {target}");
            }
            assert_problem(&app.send(&request()), 401, "unauthorized");
            assert_problem(&app.send(&request().key(own).key(own)), 401, "unauthorized");
        }
    }
}

fn where_no_keys_are_set_nobody_may_call(store: Store) {
    let app = TestApp::with(store, &[("PORTAL_API_KEY", ""), ("OPERATOR_API_KEY", " , ")]);
    for (method, target) in PORTAL_ROUTES.iter().chain(&OPERATOR_ROUTES) {
        for request in [Request::new(method, target), Request::new(method, target).key("")] {
            assert_problem(&app.send(&request), 401, "unauthorized");
        }
        assert_problem(&app.send(&Request::new(method, target).key(PAYMENT_KEY)), 401, "unauthorized");
    }
    assert_eq!(app.send(&Request::get("/healthz")).status, 200);
    assert_eq!(app.send(&Request::get("/readyz")).status, 200);
}

fn a_signature_is_as_good_as_a_key_where_it_is_asked_for(store: Store) {
    let app = TestApp::with(store, &BY_SIGNATURE);
    app.expect_payment("p", "o");
    assert_settled(&app.send(&signed(&completed(), SECRET, now())), "completed");
    let delivery = &app.deliveries("")[0];
    // SHA-256 of the secret, as it is written, begins like this.
    assert_eq!(delivery["keyName"], "k-bfdd3120");
    assert_settled(&app.send(&signed(&completed(), SECRET, now() - 240)), "duplicate");
    assert_settled(&app.send(&signed(&completed(), SECRET, now() + 240)), "duplicate");
    assert_settled(&app.send(&signed(&completed(), SECRET, now()).key("of no interest")), "duplicate");
}

fn what_is_not_well_signed_is_refused(store: Store) {
    let app = TestApp::with(store, &BY_SIGNATURE);
    app.expect_payment("p", "o");
    let body = completed();
    let good = || signed(&body, SECRET, now());
    let with_headers = |id: &str, timestamp: &str, signature: &str| {
        unsigned(&body)
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
    };
    let stamp = now().to_string();
    let signature = Webhook::new(SECRET).and_then(|webhook| webhook.sign("msg_1", now(), body.as_bytes()));
    let signature = signature.expect("a secret to sign with");
    for refused in [
        unsigned(&body),
        unsigned(&body).key(PAYMENT_KEY),
        signed(&body, OTHER_SECRET, now()),
        signed(&body, SECRET, now() - 400),
        signed(&body, SECRET, now() + 400),
        // Signed for another body.
        signed(&notification("p", "o", "failed").to_string(), SECRET, now()).body(body.clone()),
        // One header less.
        unsigned(&body).header("webhook-timestamp", &stamp).header("webhook-signature", &signature),
        unsigned(&body).header("webhook-id", "msg_1").header("webhook-signature", &signature),
        unsigned(&body).header("webhook-id", "msg_1").header("webhook-timestamp", &stamp),
        // One header twice.
        good().header("webhook-id", "msg_1"),
        good().header("webhook-signature", &signature),
        with_headers("msg_2", &stamp, &signature),
        with_headers("msg_1", &stamp, "v1,"),
        with_headers("msg_1", &stamp, "nonsense"),
        with_headers("msg_1", "", &signature),
        with_headers("msg_1", "yesterday", &signature),
        with_headers("msg_1", "-1", &signature),
        with_headers("msg_1", "99999999999999999999", &signature),
        with_headers("msg_1", "9223372036854775807", &signature),
    ] {
        assert_problem(&app.send(&refused), 401, "unauthorized");
    }
    app.assert_order("o", "pending", None);
    assert_settled(&app.send(&good()), "completed");
}

fn secrets_are_rotated_by_having_two(store: Store) {
    let both = format!("{OTHER_SECRET}  {SECRET}");
    let app = TestApp::with(store, &[("WEBHOOK_AUTH", "signature"), ("PAYMENT_WEBHOOK_SECRET", &both)]);
    app.expect_payment("p", "o");
    assert_settled(&app.send(&signed(&completed(), SECRET, now())), "completed");
    assert_settled(&app.send(&signed(&completed(), OTHER_SECRET, now())), "duplicate");
    let deliveries = app.deliveries("");
    assert_ne!(deliveries[0]["keyName"], deliveries[1]["keyName"]);
}

fn where_both_are_asked_for_each_is_required(store: Store) {
    let app = TestApp::with(store, &[("WEBHOOK_AUTH", "both"), ("PAYMENT_WEBHOOK_SECRET", SECRET)]);
    app.expect_payment("p", "o");
    let signed = || signed(&completed(), SECRET, now());
    for refused in [signed(), signed().key("wrong"), unsigned(&completed()).key(PAYMENT_KEY), unsigned(&completed())] {
        assert_problem(&app.send(&refused), 401, "unauthorized");
    }
    assert_settled(&app.send(&signed().key(PAYMENT_KEY)), "completed");
}

fn a_signed_body_has_the_same_limit(store: Store) {
    let settings = [&BY_SIGNATURE[..], &[("BODY_BYTES_MAX", "1024")]].concat();
    let app = TestApp::with(store, &settings);
    let large = "x".repeat(1025);
    assert_problem(&app.send(&signed(&large, SECRET, now())), 413, "payload_too_large");
    assert_problem(&app.send(&unsigned(&large)), 401, "unauthorized");
    let form = |secret| {
        let form = signed(&completed(), secret, now()).bytes();
        String::from_utf8(form).expect("UTF-8").replace("application/json", "text/plain").into_bytes()
    };
    let answer = |bytes: Vec<u8>| app.service.replay(&bytes).expect("an answer");
    assert_problem(&answer(form(SECRET)), 415, "unsupported_media_type");
    assert_problem(&answer(form(OTHER_SECRET)), 401, "unauthorized");
}

fn what_is_signed_is_what_is_compressed(store: Store) {
    let settings = [&BY_SIGNATURE[..], &[("BODY_BYTES_MAX", "1024")]].concat();
    let app = TestApp::with(store, &settings);
    app.expect_payment("p", "o");
    let compressed = |signed_body: &str, sent: Vec<u8>| {
        app.send(&signed(signed_body, SECRET, now()).body(sent).header("Content-Encoding", "gzip"))
    };
    let coded = gzip(completed().as_bytes());
    assert_problem(&compressed("another", coded.clone()), 401, "unauthorized");
    assert_problem(&compressed(&completed(), coded[..coded.len() - 1].to_vec()), 401, "unauthorized");
    assert_settled(&compressed(&completed(), coded), "completed");
    let large = " ".repeat(1025);
    assert_problem(&compressed(&large, gzip(large.as_bytes())), 413, "payload_too_large");
    let by_brotli = |secret| app.send(&signed(&completed(), secret, now()).header("Content-Encoding", "br"));
    assert_problem(&by_brotli(SECRET), 415, "unsupported_media_type");
    assert_problem(&by_brotli(OTHER_SECRET), 401, "unauthorized");
}

fn who_is_not_known_leaves_no_trace_in_the_ledger(store: Store) {
    let app = TestApp::open(store);
    assert_problem(&app.send(&unsigned(&completed())), 401, "unauthorized");
    assert_problem(&app.send(&unsigned("broken").key("wrong")), 401, "unauthorized");
    assert_eq!(app.deliveries(""), [json!(null); 0]);
    let refused = app.service.wait_for_records(2, |record| record["http_status"] == 401);
    assert!(refused.iter().all(|record| record["level"] == "warn" && record["code"] == "unauthorized"));
}
