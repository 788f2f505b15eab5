//! What a body must be, and what is wrong with those that are not (contract §3).

use serde_json::{Value, json};
use simulator::Request;

use crate::test_app::{
    OPERATOR_KEY, PAYMENT_KEY, PORTAL_KEY, Store, TestApp, WEBHOOK, assert_problem, assert_settled, bad_fields,
    notification, ok, registration, with, without, word,
};

on_both_stores! {
    each_bad_field_is_named,
    every_bad_field_is_named_at_once,
    a_body_that_cannot_be_read_in_one_way_is_refused,
    a_name_may_stand_once,
    what_is_optional_may_be_absent_null_or_any_of_its_forms,
    what_decides_nothing_does_not_refuse_a_payment,
    a_method_that_is_new_upstream_outlives_its_parking,
    amounts_are_compared_by_value_in_their_own_currency,
    a_refund_says_what_was_refunded,
    a_provider_s_id_that_is_none_is_left_out,
    the_words_of_a_notification_are_kept_exactly,
    an_invalid_body_leaves_an_entry_of_what_could_be_read,
}

/// A valid body whose member of this name is this text of JSON, whatever it is.
fn body_where(name: &str, text: &str) -> Vec<u8> {
    let body = with(notification("p", "o", "completed"), json!({ name: "<here>" })).to_string();
    body.replace("\"<here>\"", text).into_bytes()
}

fn send(app: &TestApp, body: impl Into<Vec<u8>>) -> simulator::Response {
    app.send(&Request::post(WEBHOOK).key(PAYMENT_KEY).json(body))
}

fn each_bad_field_is_named(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let quoted = |text: &str| Value::from(text).to_string();
    let (long, wide) = (quoted(&"x".repeat(256)), quoted(&"ě".repeat(256)));
    let not_strings = ["17", "true", "[]", "{}", "[\"p\"]"];
    let no_text = [r#""""#, "null", r#""a\u0000b""#, r#""a\nb""#, r#""\u007f""#, r#""\u0085""#, r#""\ud800""#];
    for id in ["paymentId", "orderId"] {
        for text in not_strings.into_iter().chain(no_text).chain([&*long, &wide]) {
            assert_bad(&app, id, text);
        }
    }
    let no_words = [r#""""#, "null", r#""paid""#, r#""COMPLETED""#, r#"" completed""#];
    for name in ["status", "event"] {
        for text in not_strings.into_iter().chain(no_words) {
            assert_bad(&app, name, text);
        }
    }
    for event in ["failed", "pending", "cancelled"] {
        assert_bad(&app, "event", &quoted(event));
    }
    for text in not_strings.into_iter().chain([
        r#""""#,
        "null",
        "1735732800",
        r#""yesterday""#,
        r#""2025-01-01""#,
        r#""2025-01-01T12:00:00+000""#,
        r#""2025-01-01  12:00:00""#,
        r#""2025-13-01T12:00:00Z""#,
        r#""2025-02-30T12:00:00Z""#,
    ]) {
        assert_bad(&app, "timestamp", text);
    }
    for text in [
        "0",
        "-29",
        "-0.5",
        "0.00",
        "1e-400",
        "1e400",
        "9999999999999999",
        "true",
        "[]",
        "{}",
        "0.0000000000000004",
        "999999999999999.9999999",
        r#""29.000000000000004""#,
        r#""0""#,
        r#""-29""#,
        r#""NaN""#,
        r#""Infinity""#,
        r#""29,00""#,
        r#""1e2""#,
        r#"" 29""#,
        r#""+29""#,
        r#"".5""#,
        r#""٣""#,
    ] {
        assert_bad(&app, "amount", text);
    }
    for text in ["17", "[]", r#""EURO""#, r#""E""#, r#""XAU""#, r#""€""#] {
        assert_bad(&app, "currency", text);
    }
    for (amount, currency) in
        [("29.001", "EUR"), ("29.000001", "EUR"), ("\"29.001\"", "EUR"), ("29.5", "JPY"), ("\"1.2345\"", "BHD")]
    {
        let body = body_where("amount", amount);
        let body = String::from_utf8(body).expect("UTF-8").replacen('{', &format!(r#"{{"currency":"{currency}","#), 1);
        assert_eq!(bad_fields(&assert_problem(&send(&app, body), 400, "invalid_payload")), ["amount"]);
    }
    app.assert_order("o", "pending", None);
}

#[track_caller]
fn assert_bad(app: &TestApp, name: &str, text: &str) {
    let problem = assert_problem(&send(app, body_where(name, text)), 400, "invalid_payload");
    assert_eq!(bad_fields(&problem), [name], "{name}: {text}");
}

fn every_bad_field_is_named_at_once(store: Store) {
    let app = TestApp::open(store);
    let missing = ["event", "orderId", "paymentId", "status", "timestamp"];
    let problem = assert_problem(&send(&app, "{}"), 400, "invalid_payload");
    assert_eq!(bad_fields(&problem), missing);
    for name in missing {
        let body = without(notification("p", "o", "completed"), name).to_string();
        assert_eq!(bad_fields(&assert_problem(&send(&app, body), 400, "invalid_payload")), [name]);
    }
    let all = json!({
        "paymentId": "", "orderId": 17, "status": "paid", "event": [], "paymentMethod": "bitcoin", "timestamp": "now",
        "metadata": "text", "amount": -1, "currency": "EURO",
    });
    let expected = ["amount", "currency", "event", "orderId", "paymentId", "status", "timestamp"];
    let problem = assert_problem(&send(&app, all.to_string()), 400, "invalid_payload");
    assert_eq!(bad_fields(&problem), expected);
    let shown = problem.to_string();
    assert!(!shown.contains("bitcoin") && !shown.contains("EURO"), "values are not repeated: {shown}");
}

fn a_body_that_cannot_be_read_in_one_way_is_refused(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let valid = notification("p", "o", "completed").to_string();
    let nested = |open: &str, close: &str, depth| {
        let value = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        body_where("metadata", &format!("{{\"a\":{value}}}"))
    };
    let latin = b"\"\xe9\"".to_vec();
    let not_utf8 = String::from_utf8_lossy(&body_where("orderId", "@")).into_owned();
    let (before, after) = not_utf8.split_once('@').expect("a place for it");
    for body in [
        b"null".to_vec(),
        b"[]".to_vec(),
        b"17".to_vec(),
        b"\"text\"".to_vec(),
        b" ".to_vec(),
        b"paymentId=p&orderId=o".to_vec(),
        valid.as_bytes()[..valid.len() - 1].to_vec(),
        format!("{valid}x").into_bytes(),
        format!("{valid}{valid}").into_bytes(),
        format!("{valid},").into_bytes(),
        format!("[{valid}]").into_bytes(),
        format!("\u{feff}{valid}").into_bytes(),
        format!("{valid}\0").into_bytes(),
        valid.replace('"', "'").into_bytes(),
        valid.replace('}', ",}").into_bytes(),
        valid.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        [before.as_bytes(), &latin, after.as_bytes()].concat(),
        body_where("amount", "NaN"),
        body_where("amount", "Infinity"),
        body_where("amount", "029"),
        body_where("amount", "29."),
        body_where("orderId", "\"a\nb\""),
        body_where("orderId", r#""\x41""#),
        nested("[", "]", 100),
        nested("[", "]", 30_000),
        nested("{\"a\":", "}", 100),
        nested("{\"a\":", "}", 9_000),
        b"[".repeat(60_000),
        b"{\"a\":".repeat(12_000),
    ] {
        let problem = assert_problem(&send(&app, body), 400, "invalid_payload");
        assert_eq!(bad_fields(&problem), ["body"]);
    }
    let empty = Request::post(WEBHOOK).key(PAYMENT_KEY).header("Content-Type", "application/json");
    assert_eq!(bad_fields(&assert_problem(&app.send(&empty), 400, "invalid_payload")), ["body"]);
    assert_problem(&app.send(&empty.header("Content-Length", "0")), 400, "invalid_payload");
    app.assert_order("o", "pending", None);
    assert_settled(&send(&app, format!(" \r\n\t{valid}\n")), "completed");
}

fn a_name_may_stand_once(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let valid = notification("p", "o", "completed").to_string();
    let twice = |member: &str| valid.replacen('{', &format!("{{{member},"), 1);
    for (body, field) in [
        (twice(r#""paymentId":"p""#), "paymentId"),
        (valid.replacen('}', r#","paymentId":null}"#, 1), "paymentId"),
        (twice(r#""status":"completed""#), "status"),
        (twice(r#""\u0073tatus":"completed""#), "status"),
        (twice(r#""amount":29,"amount":29"#), "amount"),
        (twice(r#""metadata":{},"metadata":{}"#), "metadata"),
        (twice(r#""mine":1,"mine":1"#), "body"),
        (twice(r#""metadata":{"a":1,"a":1}"#), "body"),
        (twice(r#""metadata":{"providerTransactionId":"t","providerTransactionId":"u"}"#), "body"),
        (twice(r#""mine":[{"a":1},{"b":{"c":1,"\u0063":2}}]"#), "body"),
    ] {
        let problem = assert_problem(&send(&app, body.clone()), 400, "invalid_payload");
        assert_eq!(bad_fields(&problem), [field], "{body}");
    }
    let same_name_elsewhere = twice(r#""metadata":{"status":{"status":1},"event":[{"a":1},{"a":1}]},"Status":"x""#);
    assert_settled(&send(&app, same_name_elsewhere), "completed");
}

fn what_is_optional_may_be_absent_null_or_any_of_its_forms(store: Store) {
    let app = TestApp::open(store);
    for (index, changes) in [
        r#"{}"#,
        r#"{"metadata":null,"amount":null,"currency":null}"#,
        r#"{"metadata":"","amount":"","currency":""}"#,
        r#"{"metadata":{}}"#,
        r#"{"metadata":{"additionalInfo":{"deep":[[[[{}]]]]},"source":"x"}}"#,
        r#"{"amount":29}"#,
        r#"{"amount":29.0}"#,
        r#"{"amount":29.00,"currency":"EUR"}"#,
        r#"{"amount":2.9e1}"#,
        r#"{"amount":2900E-2,"currency":"Eur"}"#,
        r#"{"amount":"29"}"#,
        r#"{"amount":"29.00"}"#,
        r#"{"amount":"029.0"}"#,
        r#"{"amount":"29.000","currency":"EUR"}"#,
        r#"{"amount":"29.00000000000000000000"}"#,
        r#"{"amount":29.000000000000004,"currency":"EUR"}"#,
        r#"{"amount":28.999999999999996}"#,
        r#"{"amount":2.9000000000000004e1}"#,
        r#"{"amount":29.0000009}"#,
        r#"{"currency":"eur"}"#,
        r#"{"timestamp":"2025-01-01T12:00:00.123456789+05:30"}"#,
        r#"{"timestamp":"2025-01-01t12:00:00-00:00"}"#,
        r#"{"timestamp":"1999-12-31T23:59:60Z"}"#,
        r#"{"timestamp":"2025-01-01T12:00:00+0000"}"#,
        r#"{"timestamp":"2025-01-01T12:00:00.5-0330"}"#,
        r#"{"timestamp":"2025-01-01T12:00:00+00"}"#,
        r#"{"timestamp":"2025-01-01 12:00:00+02:00"}"#,
        r#"{"timestamp":"2025-01-01T12:00:00"}"#,
        r#"{"timestamp":"2025-01-01 12:00:00.123"}"#,
        r#"{"unknown":{"any":["thing",17,null]},"userEmail":"somebody@example.invalid"}"#,
    ]
    .into_iter()
    .enumerate()
    {
        let (payment, order) = (format!("p{index}"), format!("o{index}"));
        app.expect_payment(&payment, &order);
        let plain = without(notification(&payment, &order, "completed"), "timestamp").to_string();
        let time = if changes.contains("timestamp") { "" } else { r#","timestamp":"2025-01-01T12:00:00Z""# };
        // The numbers as they are written: a library would write them otherwise.
        let comma = if changes == "{}" { "" } else { "," };
        let body = format!("{}{time}{comma}{}", plain.trim_end_matches('}'), &changes[1..]);
        assert_settled(&send(&app, body), "completed");
        app.assert_order(&order, "paid", Some(&payment));
    }
}

fn what_decides_nothing_does_not_refuse_a_payment(store: Store) {
    let app = TestApp::open(store);
    let (longest, long) = (format!("\"{}\"", "ě".repeat(64)), format!("\"{}\"", "x".repeat(65)));
    let new_method = Some("applepay");
    let longest_method = "ě".repeat(64);
    for (index, (name, given, kept, warned)) in [
        ("paymentMethod", r#""applepay""#, new_method, "the payment method differs; the registered one counts"),
        ("paymentMethod", &longest, Some(&*longest_method), "the payment method differs; the registered one counts"),
        ("paymentMethod", "null", None, "paymentMethod: is missing"),
        ("paymentMethod", r#""""#, None, "paymentMethod: is missing"),
        ("paymentMethod", "17", None, "paymentMethod: must be a string"),
        ("paymentMethod", "[]", None, "paymentMethod: must be a string"),
        ("paymentMethod", &long, None, "paymentMethod: must have at most 64 characters"),
        ("paymentMethod", r#""a\nb""#, None, "paymentMethod: must not contain control characters"),
        ("metadata", "[]", Some("webpay"), "metadata: must be an object"),
        ("metadata", "17", Some("webpay"), "metadata: must be an object"),
        ("metadata", "true", Some("webpay"), "metadata: must be an object"),
        ("metadata", r#""text""#, Some("webpay"), "metadata: must be an object"),
        ("metadata", r#"{"providerTransactionId":17}"#, Some("webpay"), "metadata.providerTransactionId: must be"),
    ]
    .into_iter()
    .enumerate()
    {
        let (payment, order) = (format!("p{index}"), format!("o{index}"));
        app.expect_payment(&payment, &order);
        let body = with(notification(&payment, &order, "completed"), json!({ name: "<here>" })).to_string();
        let answer = send(&app, body.replace("\"<here>\"", given));
        assert_settled(&answer, "completed");
        app.assert_order(&order, "paid", Some(&payment));
        let history = app.payment(&payment);
        assert_eq!(history["payment"]["paymentMethod"], "webpay");
        assert_eq!(history["deliveries"][0]["paymentMethod"], json!(kept), "{name}: {given}");
        let warns = |record: &Value| {
            let tells = |name: &str| record[name].as_str().is_some_and(|text| text.starts_with(warned));
            record["level"] == "warn" && record["payment_id"] == *payment && (tells("message") || tells("reason"))
        };
        assert_eq!(app.service.wait_for_records(1, warns).len(), 1, "{name}: {given}");
    }
}

fn a_method_that_is_new_upstream_outlives_its_parking(store: Store) {
    let app = TestApp::open(store);
    let new_upstream = with(notification("p", "o", "completed"), json!({ "paymentMethod": "applepay" }));
    let unnamed = with(without(new_upstream.clone(), "paymentMethod"), json!({ "amount": 29.000000000000004 }));
    for body in [&new_upstream, &unnamed] {
        assert_problem(&app.callback(body), 404, "payment_not_found");
    }
    assert_eq!(app.register(&registration("p", "o")).json()["applied"], json!(["completed", "duplicate"]));
    let deliveries = app.payment("p")["deliveries"].as_array().expect("a list").clone();
    let methods: Vec<_> = deliveries.iter().map(|delivery| &delivery["paymentMethod"]).collect();
    assert_eq!(methods, [&json!(null), &json!("applepay"), &json!(null), &json!("applepay")]);
    let replay = format!("/api/deliveries/{}/replay", word(&deliveries[0]["deliveryId"]));
    assert_eq!(ok(app.post(OPERATOR_KEY, &replay))["outcome"], "duplicate");
}

fn amounts_are_compared_by_value_in_their_own_currency(store: Store) {
    let app = TestApp::open(store);
    for (index, (currency, registered, reported, shown)) in [
        ("CLP", r#""15000.00""#, r#""15000.0""#, "15000"),
        ("JPY", "1500", "1500.0000000000002", "1500"),
        ("EUR", "0.30000000000000004", "0.3", "0.30"),
        ("EUR", "29.999999999999996", r#""30.000""#, "30.00"),
        ("BHD", "1.2344999999999999e0", "1.2345", ""),
        ("BHD", "1.2339999999999999", r#""1.234""#, "1.234"),
        ("EUR", "9999999999999.98999999463558", r#""9999999999999.99""#, "9999999999999.99"),
    ]
    .into_iter()
    .enumerate()
    {
        let (payment, order) = (format!("p{index}"), format!("o{index}"));
        let priced = |body: Value, amount: &str, currency: Value| {
            let body = with(body, json!({ "amount": "<here>", "currency": currency })).to_string();
            body.replace("\"<here>\"", amount)
        };
        let registering = priced(registration(&payment, &order), registered, json!(currency));
        let answer = app.send(&Request::post("/api/payments").key(PORTAL_KEY).json(registering));
        if shown.is_empty() {
            assert_eq!(bad_fields(&assert_problem(&answer, 400, "invalid_payload")), ["amount"]);
            continue;
        }
        assert_eq!((answer.status, &answer.json()["payment"]["amount"]), (201, &json!(shown)));
        // Without a currency beside it, the registered one says how many decimals there are.
        for (currency, outcome) in [(json!(null), "completed"), (json!(currency), "duplicate")] {
            let body = priced(notification(&payment, &order, "completed"), reported, currency);
            assert_settled(&send(&app, body), outcome);
        }
    }
}

fn a_refund_says_what_was_refunded(store: Store) {
    let app = TestApp::open(store);
    let sent = |payment: &str, status: &str, changes: Value| {
        app.callback(&with(with(notification(payment, "o", status), json!({ "event": "refunded" })), changes))
    };
    for payment in ["p", "q"] {
        app.expect_payment(payment, "o");
        app.callback(&notification(payment, "o", "completed"));
    }
    let at = |second: u8| format!("2025-01-06T12:00:0{second}Z");
    for (second, amount) in (0..).zip([json!("5.00"), json!(5), json!(0.1), json!("29.00")]) {
        let answer = sent("p", "completed", json!({ "amount": amount, "currency": "EUR", "timestamp": at(second) }));
        assert_settled(&answer, "partially_refunded");
    }
    for status in ["completed", "refunded"] {
        for more in [json!("29.01"), json!(30)] {
            assert_problem(&sent("p", status, json!({ "amount": more })), 400, "amount_mismatch");
        }
        assert_problem(&sent("p", status, json!({ "amount": "5", "currency": "USD" })), 400, "currency_mismatch");
        assert_problem(&sent("p", status, json!({ "amount": "0" })), 400, "invalid_payload");
    }
    assert_settled(&sent("p", "refunded", json!({ "amount": "5.00" })), "refunded");
    assert_settled(&sent("q", "refunded", json!({ "amount": "29.00" })), "refunded");
    let less = with(notification("q", "o", "completed"), json!({ "amount": "5.00" }));
    assert_problem(&app.callback(&less), 400, "amount_mismatch");
}

fn a_provider_s_id_that_is_none_is_left_out(store: Store) {
    let app = TestApp::open(store);
    let longest = "x".repeat(255);
    for (index, (given, kept)) in [
        (json!("webpay-order-number"), Some("webpay-order-number")),
        (json!(longest), Some(&*longest)),
        (json!("č. 1"), Some("č. 1")),
        (json!("x".repeat(256)), None),
        (json!(""), None),
        (json!("a\u{0}b"), None),
        (json!(17), None),
        (json!(true), None),
        (json!(null), None),
        (json!(["x"]), None),
        (json!({ "id": "x" }), None),
    ]
    .into_iter()
    .enumerate()
    {
        let (payment, order) = (format!("p{index}"), format!("o{index}"));
        app.expect_payment(&payment, &order);
        let metadata = json!({ "metadata": { "providerTransactionId": given } });
        let answer = app.callback(&with(notification(&payment, &order, "completed"), metadata));
        assert_settled(&answer, "completed");
        let history = app.payment(&payment);
        assert_eq!(history["payment"]["providerTransactionId"], json!(kept));
        assert_eq!(history["payment"]["record"]["transactionId"], json!(kept));
        assert_eq!(history["deliveries"][0]["providerTransactionId"], json!(kept));
    }
}

fn the_words_of_a_notification_are_kept_exactly(store: Store) {
    let app = TestApp::open(store);
    let longest = "ě".repeat(255);
    for (payment, order) in [
        ("marathon:22855c43-0000-4000-8000-000000000001:1767322800123", "order 3 \"ěš/\\"),
        (" leading and trailing ", "'; DROP TABLE orders; --"),
        ("😀", "{\"json\":1}"),
        ("a%2Fb+c&d=e?f#g", "..%2f"),
        (&longest, "null"),
    ] {
        app.expect_payment(payment, order);
        let answer = app.callback(&notification(payment, order, "completed"));
        assert_settled(&answer, "completed");
        assert_eq!(
            (word(&answer.json()["paymentId"]), word(&answer.json()["orderId"])),
            (payment.into(), order.into())
        );
        app.assert_order(order, "paid", Some(payment));
        assert_eq!(app.payment(payment)["payment"]["orderId"], order);
        assert_eq!(app.outcomes(payment), ["completed"]);
    }
}

fn an_invalid_body_leaves_an_entry_of_what_could_be_read(store: Store) {
    let app = TestApp::open(store);
    let half = json!({ "paymentId": "p", "orderId": 17, "status": "completed", "paymentMethod": "a\tb" });
    let answer = app.callback(&half);
    let problem = assert_problem(&answer, 400, "invalid_payload");
    let delivery = &app.deliveries("?payment=p")[0];
    assert_eq!(delivery["outcome"], "invalid");
    assert_eq!(delivery["requestId"], problem["requestId"]);
    assert_eq!((&delivery["status"], &delivery["orderId"]), (&json!("completed"), &json!(null)));
    assert_eq!((&delivery["paymentMethod"], &delivery["newStatus"]), (&json!(null), &json!(null)));
    let reason = word(&delivery["reason"]);
    assert_eq!(reason, "orderId: must be a string; event: is missing; timestamp: is missing");

    send(&app, "not JSON at all");
    let delivery = &app.deliveries("?limit=1")[0];
    assert_eq!(delivery["outcome"], "invalid");
    // SHA-256 of that text.
    assert_eq!(delivery["bodySha256"], "9c40ad81c6c9ed0a2cb8d742fc2e755c6ce2cb74c3c2bfe7745074fc44b0180d");
    let replay = format!("/api/deliveries/{}/replay", word(&delivery["deliveryId"]));
    assert_problem(&app.post(OPERATOR_KEY, &replay), 409, "not_replayable");
}
