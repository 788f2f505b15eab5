//! The figures that Prometheus reads (contract §6).

use std::collections::BTreeMap;

use serde_json::json;
use simulator::Request;

use crate::test_app::{
    PAYMENT_KEY, PORTAL_KEY, Store, TestApp, WEBHOOK, callback, notification, partial_refund, registration, word,
};

on_both_stores! {
    answers_and_outcomes_are_counted,
    what_can_happen_stands_there_before_it_does,
    durations_and_batches_are_measured,
    the_ledger_s_figures_are_those_of_this_moment,
    ages_are_those_of_the_oldest,
    log_records_are_counted_by_where_they_went,
    a_ledger_that_says_nothing_does_not_keep_the_other_figures_back,
    a_key_s_use_is_seen_by_its_number,
    one_key_of_two_groups_is_numbered_in_each,
    callers_can_make_up_no_series,
}

/// Every figure by its name and labels, as they stand in the text.
pub(crate) type Figures = BTreeMap<String, f64>;

#[track_caller]
pub(crate) fn figures(app: &TestApp) -> Figures {
    let response = app.send(&Request::get("/metrics"));
    assert_eq!((response.status, response.header("content-type")), (200, Some("text/plain; version=0.0.4")));
    let text = String::from_utf8(response.body).expect("UTF-8");
    let figure = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    text.lines().filter(|line| !line.starts_with('#')).map(figure).collect()
}

#[track_caller]
fn assert_figures(figures: &Figures, expected: &[(&str, f64)]) {
    for (name, value) in expected {
        let name = format!("payment_callback_{name}");
        assert_eq!(figures.get(&name), Some(value), "{name} of {figures:#?}");
    }
}

fn answers_and_outcomes_are_counted(store: Store) {
    let app = TestApp::open(store);
    app.callback(&notification("p", "o", "failed"));
    app.expect_payment("p", "o");
    for status in ["completed", "completed", "failed"] {
        app.callback(&notification("p", "o", status));
    }
    app.callback(&json!({}));
    app.send(&Request::post(WEBHOOK).key("wrong"));
    app.get(PORTAL_KEY, "/nowhere");
    assert_figures(
        &figures(&app),
        &[
            ("deliveries_total{outcome=\"parked\",source=\"callback\"}", 1.0),
            ("deliveries_total{outcome=\"failed\",source=\"parked\"}", 1.0),
            ("deliveries_total{outcome=\"completed\",source=\"callback\"}", 1.0),
            ("deliveries_total{outcome=\"duplicate\",source=\"callback\"}", 1.0),
            ("deliveries_total{outcome=\"ignored\",source=\"callback\"}", 1.0),
            ("deliveries_total{outcome=\"invalid\",source=\"callback\"}", 1.0),
            ("http_requests_total{method=\"POST\",route=\"/api/payments/webhook\",status=\"200\"}", 3.0),
            ("http_requests_total{method=\"POST\",route=\"/api/payments/webhook\",status=\"404\"}", 1.0),
            ("http_requests_total{method=\"POST\",route=\"/api/payments/webhook\",status=\"400\"}", 1.0),
            ("http_requests_total{method=\"POST\",route=\"/api/payments/webhook\",status=\"401\"}", 1.0),
            ("http_requests_total{method=\"POST\",route=\"/api/payments\",status=\"201\"}", 1.0),
            ("http_requests_total{method=\"GET\",route=\"none\",status=\"404\"}", 1.0),
            ("http_requests_in_flight", 1.0),
            ("commits_total{result=\"stored\"}", 5.0),
        ],
    );
}

fn what_can_happen_stands_there_before_it_does(store: Store) {
    let app = TestApp::open(store);
    let figures = figures(&app);
    assert_figures(
        &figures,
        &[
            ("deliveries_total{outcome=\"unapplied\",source=\"callback\"}", 0.0),
            ("deliveries_total{outcome=\"rejected\",source=\"parked\"}", 0.0),
            ("commits_total{result=\"unavailable\"}", 0.0),
            ("open_payments", 0.0),
            ("oldest_open_payment_seconds", 0.0),
            ("parked_notifications", 0.0),
            ("oldest_parked_notification_seconds", 0.0),
            ("unapplied_payments", 0.0),
            ("last_callback_timestamp_seconds", 0.0),
            ("intake_queue_depth", 0.0),
            ("intake_queue_limit", 4096.0),
            ("database_up", 1.0),
            ("database_connections_limit", 8.0),
        ],
    );
    let build = figures.keys().find(|name| name.starts_with("payment_callback_build_info{")).expect("what was built");
    assert!(build.contains(&format!("version=\"{}\"", env!("CARGO_PKG_VERSION"))), "{build}");
    for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
        assert!(figures.contains_key(name), "{name}");
    }
}

fn durations_and_batches_are_measured(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    for _ in 0..3 {
        app.callback(&notification("p", "o", "completed"));
    }
    app.get(PORTAL_KEY, "/api/orders/o");
    let figures = figures(&app);
    assert_figures(
        &figures,
        &[
            ("duration_seconds_count{stage=\"whole\"}", 3.0),
            ("duration_seconds_count{stage=\"queue\"}", 3.0),
            ("duration_seconds_count{stage=\"commit\"}", 3.0),
            ("batch_size_count", 3.0),
            ("batch_size_sum", 3.0),
        ],
    );
    let seconds = |stage: &str| figures[&format!("payment_callback_duration_seconds_sum{{stage=\"{stage}\"}}")];
    assert!(seconds("whole") > seconds("commit") && seconds("commit") > 0.0);
}

fn the_ledger_s_figures_are_those_of_this_moment(store: Store) {
    let app = TestApp::open(store);
    for payment in ["p", "rival", "open"] {
        app.expect_payment(payment, "o");
    }
    assert_figures(&figures(&app), &[("open_payments", 3.0)]);
    for payment in ["p", "rival", "unknown"] {
        app.callback(&notification(payment, "o", "completed"));
    }
    let now = figures(&app);
    let expected = [("open_payments", 1.0), ("unapplied_payments", 1.0), ("parked_notifications", 1.0)];
    assert_figures(&now, &expected);
    assert!(now["payment_callback_last_callback_timestamp_seconds"] > 1.7e9);
    let connections =
        ["busy", "idle"].map(|state| now[&format!("payment_callback_database_connections{{state=\"{state}\"}}")]);
    assert!(connections.iter().sum::<f64>() >= 1.0, "{connections:?}");
    // What another process has received counts here as well.
    let other = app.another();
    other.exchange(&callback(&notification("rival", "o", "refunded"))).expect("an answer");
    other.exchange(&callback(&partial_refund("p", "o", "2025-01-06T12:00:00Z"))).expect("an answer");
    assert_figures(&figures(&app), &[("unapplied_payments", 0.0)]);
}

fn ages_are_those_of_the_oldest(store: Store) {
    let app = TestApp::open(store);
    for payment in ["older", "newer"] {
        app.expect_payment(payment, payment);
        app.callback(&notification(&format!("unknown-{payment}"), "o", "completed"));
    }
    app.store.execute(
        "UPDATE open_payments SET created_at = '2020-01-01 00:00:00+00:00' WHERE payment_key = \
         (SELECT payment_key FROM external_payments WHERE payment_id = 'older')",
    );
    app.store
        .execute("UPDATE deliveries SET received_at = '2021-01-01 00:00:00+00:00' WHERE payment_id = 'unknown-older'");
    app.store
        .execute("UPDATE deliveries SET received_at = '2025-06-01 00:00:00+00:00' WHERE payment_id = 'unknown-newer'");
    let figures = figures(&app);
    assert_figures(&figures, &[("last_callback_timestamp_seconds", 1_748_736_000.0)]);
    let open = figures["payment_callback_oldest_open_payment_seconds"];
    let parked = figures["payment_callback_oldest_parked_notification_seconds"];
    // 2020 was a leap year.
    assert!((open - parked - 366.0 * 86_400.0).abs() < 1.0, "{open} {parked}");
    let used = figures.iter().find(|(name, value)| name.contains("key_last_used") && **value > 0.0);
    let (_, used) = used.expect("a key that was used");
    assert!((used - open - 1_577_836_800.0).abs() < 60.0, "the key was used just now: {used}");
}

fn log_records_are_counted_by_where_they_went(store: Store) {
    let app = TestApp::open(store);
    let written = || figures(&app)["payment_callback_log_records_total{destination=\"stdout\",result=\"written\"}"];
    let before = written();
    assert!(before > 0.0);
    app.callback(&notification("p", "o", "completed"));
    let _ = app.service.wait_for_records(1, |record| record["route"] == WEBHOOK);
    assert!(written() > before);
    let nothing = [("log_records_total{destination=\"stdout\",result=\"dropped\"}", 0.0)];
    assert_figures(&figures(&app), &nothing);
    assert_figures(&figures(&app), &[("log_records_total{destination=\"central\",result=\"written\"}", 0.0)]);
}

fn a_ledger_that_says_nothing_does_not_keep_the_other_figures_back(store: Store) {
    let app = TestApp::open(store);
    app.store.execute("DROP TABLE parked_deliveries");
    let figures = figures(&app);
    assert_figures(&figures, &[("database_up", 0.0), ("intake_queue_depth", 0.0)]);
    assert_eq!(figures.get("payment_callback_open_payments"), None, "an old figure would be taken for a new one");
}

fn a_key_s_use_is_seen_by_its_number(store: Store) {
    let app = TestApp::with(store, &[("PAYMENT_API_KEY", &format!("the-key-that-is-rotated-out,{PAYMENT_KEY}"))]);
    let used = || {
        let figures = figures(&app);
        let keys = figures.iter().filter_map(|(name, value)| {
            let labels = name.strip_prefix("payment_callback_key_last_used_timestamp_seconds")?;
            Some((labels.to_owned(), *value > 1.7e9))
        });
        keys.collect::<BTreeMap<_, _>>()
    };
    let expected = |used: &[&str]| {
        let all = ["operator-1", "payment-1", "payment-2", "portal-1"];
        all.map(|key| (format!("{{key=\"{key}\"}}"), used.contains(&key))).into_iter().collect::<BTreeMap<_, _>>()
    };
    assert_eq!(used(), expected(&[]));
    app.callback(&notification("p", "o", "completed"));
    assert_eq!(used(), expected(&["payment-2"]));
    app.get(PORTAL_KEY, "/api/orders/o");
    assert_eq!(used(), expected(&["payment-2", "portal-1"]));
    // These figures are open to all, and the name begins like the key's SHA-256.
    let name = word(&app.deliveries("")[0]["keyName"]);
    let metrics = app.send(&Request::get("/metrics")).body;
    let metrics = String::from_utf8(metrics).expect("UTF-8");
    assert!(!metrics.contains(name.strip_prefix("k-").expect("a key's name")), "{metrics}");
}

fn one_key_of_two_groups_is_numbered_in_each(store: Store) {
    let app = TestApp::with(store, &[("PORTAL_API_KEY", PAYMENT_KEY)]);
    app.get(PAYMENT_KEY, "/api/orders/o");
    let figures = figures(&app);
    let used = |key: &str| figures[&format!("payment_callback_key_last_used_timestamp_seconds{{key=\"{key}\"}}")] > 0.0;
    assert_eq!([used("portal-1"), used("payment-1")], [true, false]);
}

fn callers_can_make_up_no_series(store: Store) {
    let app = TestApp::open(store);
    let series = |app: &TestApp| figures(app).len();
    for method in ["BREW", "PROPFIND", "X"] {
        app.send(&Request::new(method, "/x"));
    }
    app.get("wrong", "/api/orders/1");
    let before = series(&app);
    for index in 0..20 {
        app.send(&Request::new(&format!("BREW{index}"), &format!("/{index}?{index}")));
        app.get(&format!("wrong{index}"), &format!("/api/orders/{index}"));
    }
    app.register(&registration("p", "o"));
    assert!(series(&app) <= before + 2, "those of the registration");
}
