//! What operators see of the events for the portal, and having them sent again (contract §6, §8).

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::{Portal, Response};

use crate::authentication::SECRET;
use crate::test_app::{
    OPERATOR_KEY, Store, TestApp, assert_problem, bad_fields, names, notification, ok, partial_refund, without, word,
};

on_both_stores! {
    events_are_found_by_any_combination_of_filters,
    pages_follow_each_other_without_gap_or_overlap,
    a_bad_query_is_an_invalid_request,
    an_event_is_shown_with_its_attempts_newest_first,
    a_redelivered_event_is_due_whatever_its_state,
    the_portal_hears_again_of_a_redelivered_event,
    what_is_no_event_is_not_found,
    all_events_that_match_are_redelivered,
    a_dry_run_counts_and_changes_nothing,
    ten_thousand_events_are_redelivered_at_most_and_the_oldest_first,
    a_bad_redelivery_changes_nothing,
}

/// Which events a filter is to find.
type Wanted<'a> = &'a dyn Fn(&Value) -> bool;

const EVENT: [&str; 10] = [
    "attempts",
    "createdAt",
    "deliveredAt",
    "eventId",
    "lastError",
    "nextAttemptAt",
    "orderId",
    "paymentId",
    "state",
    "type",
];

/// The query's page, and where the next one begins.
fn page(app: &TestApp, query: &str) -> (Vec<Value>, Option<String>) {
    let document = ok(app.get(OPERATOR_KEY, &format!("/api/events{query}")));
    assert_eq!(names(&document), ["events", "nextCursor"]);
    let events = document["events"].as_array().expect("a list").clone();
    (events, document["nextCursor"].as_str().map(str::to_owned))
}

fn ids(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| word(&event["eventId"])).collect()
}

/// What an operator sees of one event.
#[track_caller]
fn event(app: &TestApp, id: &str) -> Value {
    ok(app.get(OPERATOR_KEY, &format!("/api/events/{id}")))
}

fn redeliver(app: &TestApp, id: &str) -> Response {
    app.post(OPERATOR_KEY, &format!("/api/events/{id}/redeliver"))
}

fn redeliver_all(app: &TestApp, query: &str) -> Response {
    app.post(OPERATOR_KEY, &format!("/api/events/redeliver{query}"))
}

/// How many events matched and were redelivered.
fn counts(matched: usize, redelivered: usize, dry_run: bool) -> Value {
    json!({ "matched": matched, "redelivered": redelivered, "dryRun": dry_run })
}

/// Seven events of two orders, in every state: of the first order one is delivered and one dead, of the second one is
/// dead.
fn app_with_events(store: Store) -> TestApp {
    let app = TestApp::open(store);
    for (payment, order) in [("p1", "o1"), ("p2", "o1"), ("p3", "o3")] {
        app.expect_payment(payment, order);
        for status in ["failed", "completed"] {
            app.callback(&notification(payment, order, status));
        }
    }
    app.callback(&notification("p3", "o3", "refunded"));
    let all = ids(&app.events(""));
    for (index, state) in [(6, "delivered"), (5, "dead"), (2, "dead")] {
        app.store.end_event(&all[index], state);
    }
    app
}

fn events_are_found_by_any_combination_of_filters(store: Store) {
    let app = app_with_events(store);
    let all = app.events("");
    let of = |name: &str| all.iter().rev().map(|event| word(&event[name])).collect::<Vec<_>>();
    let (failed, paid) = ("payment.failed", "order.paid");
    assert_eq!(of("type"), [failed, paid, failed, "payment.unapplied", failed, paid, "payment.refunded"]);
    assert_eq!(of("state"), ["delivered", "dead", "pending", "pending", "dead", "pending", "pending"]);
    assert_eq!(of("paymentId"), ["p1", "p1", "p2", "p2", "p3", "p3", "p3"]);
    assert_eq!(of("orderId"), ["o1", "o1", "o1", "o1", "o3", "o3", "o3"]);
    for event in &all {
        assert_eq!(names(event), EVENT);
        let state = word(&event["state"]);
        assert_eq!(event["nextAttemptAt"].is_string(), state == "pending", "{event}");
        assert_eq!(event["deliveredAt"].is_string(), state == "delivered", "{event}");
        assert_eq!(event["lastError"].is_string(), state == "dead", "{event}");
        assert_eq!(event["attempts"], json!(usize::from(state != "pending")), "{event}");
    }
    let is = |name: &'static str, value: &'static str| move |event: &Value| event[name] == value;
    let both = |one: fn(&Value) -> bool, other: fn(&Value) -> bool| move |event: &Value| one(event) && other(event);
    let filters: [(&str, Wanted<'_>); 11] = [
        ("?state=pending", &is("state", "pending")),
        ("?state=delivered", &is("state", "delivered")),
        ("?state=dead", &is("state", "dead")),
        ("?order=o1", &is("orderId", "o1")),
        ("?payment=p3", &is("paymentId", "p3")),
        ("?state=dead&order=o3", &both(|e| e["state"] == "dead", |e| e["orderId"] == "o3")),
        ("?payment=p2&state=pending", &both(|e| e["paymentId"] == "p2", |e| e["state"] == "pending")),
        ("?order=o1&payment=p1", &is("paymentId", "p1")),
        ("?order=o3&payment=p1", &|_| false),
        ("?order=unknown", &|_| false),
        ("?payment=unknown", &|_| false),
    ];
    let since = word(&all[3]["createdAt"]);
    let recent = |event: &Value| word(&event["createdAt"]) >= since;
    for (query, wanted) in filters {
        let expected: Vec<_> = all.iter().filter(|event| wanted(event)).cloned().collect();
        assert_eq!(app.events(query), expected, "{query}");
        let expected: Vec<_> = expected.into_iter().filter(recent).collect();
        assert_eq!(app.events(&format!("{query}&since={since}")), expected, "{query} since {since}");
    }
    let expected: Vec<_> = all.iter().filter(|event| recent(event)).cloned().collect();
    for written in [since.clone(), since.replace('Z', "+00:00"), since.replace('Z', "%2B00:00")] {
        assert_eq!(app.events(&format!("?since={written}")), expected, "{written}");
    }
    assert_eq!(app.events("?since=2999-01-01T00:00:00Z"), [json!(null); 0]);
    assert_eq!(app.events("?since=1970-01-01T00:00:00Z"), all);
}

fn pages_follow_each_other_without_gap_or_overlap(store: Store) {
    let app = TestApp::open(store);
    let of = |index: usize| (format!("p{index}"), format!("o{index}"));
    for (payment, order) in (0..4).map(of) {
        app.expect_payment(&payment, &order);
        // The first of them completes the payment as well and leads to two events.
        for second in 10..23 {
            app.callback(&partial_refund(&payment, &order, &format!("2025-01-01T12:00:{second}Z")));
        }
    }
    let (all, end) = page(&app, "?limit=500");
    assert_eq!((all.len(), end), (56, None));
    assert_eq!(page(&app, "").0, all[..50], "50 if left out");
    let mut others = (4..).map(of);
    for (limit, filter) in [(20, ""), (28, "&state=pending"), (1, "&order=o0"), (2, "&payment=p1"), (1, "&order=o2")] {
        let expected = page(&app, &format!("?limit=500{filter}")).0;
        let (mut seen, mut query) = (Vec::new(), format!("?limit={limit}{filter}"));
        loop {
            let (events, cursor) = page(&app, &query);
            assert!(events.len() == limit || cursor.is_none());
            seen.extend(events);
            // What happens meanwhile is newer than any page that follows.
            let (payment, order) = others.next().expect("another payment");
            app.expect_payment(&payment, &order);
            app.callback(&notification(&payment, &order, "failed"));
            match cursor {
                Some(cursor) => query = format!("?limit={limit}{filter}&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(ids(&seen), ids(&expected), "{limit} {filter}");
    }
}

fn a_bad_query_is_an_invalid_request(store: Store) {
    let app = TestApp::open(store);
    let long = format!("payment={}", "x".repeat(256));
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("since=yesterday", "since"),
        ("since=2025-01-01", "since"),
        ("state=sent", "state"),
        ("state=Dead", "state"),
        ("cursor=x", "cursor"),
        ("payment=%00", "payment"),
        (&long, "payment"),
        ("order=a%0Ab", "order"),
        ("state=dead&state=dead", "state"),
        ("outcome=completed", "query"),
        ("state=", "state"),
        ("order=", "order"),
        ("payment=", "payment"),
        ("since=", "since"),
        ("limit=", "limit"),
        ("cursor=", "cursor"),
        ("state", "state"),
    ] {
        let problem = assert_problem(&app.get(OPERATOR_KEY, &format!("/api/events?{query}")), 400, "invalid_request");
        assert_eq!(bad_fields(&problem), [field], "{query}");
    }
    let problem = app.get(OPERATOR_KEY, "/api/events?limit=x&since=x&state=x&cursor=x");
    assert_eq!(bad_fields(&assert_problem(&problem, 400, "invalid_request")), ["cursor", "limit", "since", "state"]);
}

fn an_event_is_shown_with_its_attempts_newest_first(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    app.callback(&notification("p", "o", "completed"));
    let listed = &app.events("")[0];
    let id = word(&listed["eventId"]);
    let untried = event(&app, &id);
    assert_eq!(untried["history"], json!([]));
    assert_eq!(&without(untried, "history"), listed);
    for (second, status, error) in [(0, "500", "'answered 500'"), (5, "NULL", "'timed out'"), (10, "204", "NULL")] {
        app.store.execute(&format!(
            "INSERT INTO event_attempts (event_id, attempted_at, duration_ms, status, error) \
             VALUES ('{id}', '2025-01-01 12:00:{second:02}.123456+00:00', {second}, {status}, {error})"
        ));
    }
    let shown = event(&app, &id);
    assert_eq!((&shown["attempts"], &shown["lastError"]), (&json!(3), &json!(null)), "the last one succeeded");
    let attempt = |second: u32, status: Option<u16>, error: Option<&str>| {
        let attempted_at = format!("2025-01-01T12:00:{second:02}.123Z");
        json!({ "attemptedAt": attempted_at, "durationMs": second, "status": status, "error": error })
    };
    let expected = [
        attempt(10, Some(204), None),
        attempt(5, None, Some("timed out")),
        attempt(0, Some(500), Some("answered 500")),
    ];
    assert_eq!(shown["history"], json!(expected));
    for minute in 1..40 {
        app.store.execute(&format!(
            "INSERT INTO event_attempts (event_id, attempted_at, duration_ms, status, error) VALUES \
             ('{id}', '2025-01-01 13:{minute:02}:00.000000+00:00', 1, 500, 'answered 500'), \
             ('{id}', '2025-01-01 13:{minute:02}:20.000000+00:00', 1, 500, 'answered 500'), \
             ('{id}', '2025-01-01 13:{minute:02}:40.000000+00:00', 1, 500, 'answered 500')"
        ));
    }
    let shown = event(&app, &id);
    assert_eq!((&shown["attempts"], shown["history"].as_array().map(Vec::len)), (&json!(120), Some(100)));
    assert_eq!(shown["history"][0]["attemptedAt"], "2025-01-01T13:39:40.000Z");
}

fn a_redelivered_event_is_due_whatever_its_state(store: Store) {
    let app = app_with_events(store);
    let all = app.events("");
    for before in &all {
        let id = word(&before["eventId"]);
        let after = ok(redeliver(&app, &id));
        assert_eq!(names(&after), EVENT);
        assert_eq!((&after["state"], &after["deliveredAt"]), (&json!("pending"), &json!(null)), "{before}");
        assert!(after["nextAttemptAt"].is_string(), "{after}");
        for kept in ["eventId", "type", "orderId", "paymentId", "createdAt", "attempts", "lastError"] {
            assert_eq!(after[kept], before[kept], "{kept}");
        }
        assert_eq!(ok(redeliver(&app, &id))["state"], "pending", "again");
    }
    assert_eq!(app.events("?state=pending").len(), all.len());
}

fn the_portal_hears_again_of_a_redelivered_event(store: Store) {
    let portal = Portal::start(&[SECRET]).expect("a portal");
    let settings = [("PORTAL_EVENTS_URL", &*portal.url()), ("PORTAL_EVENTS_SECRET", SECRET)];
    let app = TestApp::with(store, &settings);
    app.expect_payment("p", "o");
    app.callback(&notification("p", "o", "completed"));
    let id = portal.wait_for_events(1, |_| true)[0].id.clone();
    wait_until_delivered(&app, &id, 1);
    assert_eq!(ok(redeliver(&app, &id))["eventId"], id);
    assert!(portal.wait_for_events(2, |_| true).iter().all(|heard| heard.id == id));
    wait_until_delivered(&app, &id, 2);
    assert_eq!(ok(redeliver_all(&app, "?order=o")), counts(1, 1, false));
    assert!(portal.wait_for_events(3, |_| true).iter().all(|heard| heard.id == id));
    wait_until_delivered(&app, &id, 3);
}

/// Waits until so many attempts are stored and the last one has succeeded.
#[track_caller]
fn wait_until_delivered(app: &TestApp, id: &str, attempts: usize) {
    let is_delivered = || {
        let event = event(app, id);
        event["state"] == "delivered" && event["attempts"] == attempts
    };
    let since = Instant::now();
    while !is_delivered() {
        assert!(since.elapsed() < Duration::from_secs(60), "{}", event(app, id));
        thread::sleep(Duration::from_millis(10));
    }
}

fn what_is_no_event_is_not_found(store: Store) {
    let app = app_with_events(store);
    let before = app.events("");
    let delivery = word(&app.deliveries("")[0]["deliveryId"]);
    for id in ["00000000-0000-7000-8000-000000000000", &delivery, "x", "%00"] {
        assert_problem(&app.get(OPERATOR_KEY, &format!("/api/events/{id}")), 404, "not_found");
        assert_problem(&redeliver(&app, id), 404, "not_found");
    }
    assert_eq!(app.events(""), before);
}

fn all_events_that_match_are_redelivered(store: Store) {
    let app = app_with_events(store);
    let dead = app.events("?state=dead");
    let since = word(&dead[0]["createdAt"]);
    assert_eq!(ok(redeliver_all(&app, "?state=dead&order=unknown")), counts(0, 0, false));
    assert_eq!(ok(redeliver_all(&app, "?state=dead&order=o1&dryRun=false")), counts(1, 1, false));
    let states = |app: &TestApp| app.events("").iter().rev().map(|event| word(&event["state"])).collect::<Vec<_>>();
    assert_eq!(states(&app), ["delivered", "pending", "pending", "pending", "dead", "pending", "pending"]);
    assert_eq!(ok(redeliver_all(&app, "?state=dead&since=2999-01-01T00:00:00Z")), counts(0, 0, false));
    assert_eq!(ok(redeliver_all(&app, &format!("?state=dead&since={since}"))), counts(1, 1, false));
    assert_eq!(states(&app), ["delivered", "pending", "pending", "pending", "pending", "pending", "pending"]);
    assert_eq!(ok(redeliver_all(&app, "?state=dead")), counts(0, 0, false), "they are pending again");
    assert_eq!(ok(redeliver_all(&app, "?order=o3")), counts(3, 3, false));
    assert_eq!(ok(redeliver_all(&app, "?state=delivered")), counts(1, 1, false));
    assert_eq!(ok(redeliver_all(&app, "")), counts(7, 7, false), "all of them match");
    assert_eq!(app.events("?state=pending").len(), 7);
}

fn a_dry_run_counts_and_changes_nothing(store: Store) {
    let app = app_with_events(store);
    let before = app.events("");
    for (query, matched) in [
        ("?dryRun=true", 7),
        ("?state=dead&dryRun=true", 2),
        ("?dryRun=true&order=o1&state=dead", 1),
        ("?order=unknown&dryRun=true", 0),
    ] {
        assert_eq!(ok(redeliver_all(&app, query)), counts(matched, 0, true), "{query}");
    }
    assert_eq!(app.events(""), before);
}

fn ten_thousand_events_are_redelivered_at_most_and_the_oldest_first(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    app.store.add_dead_events(10_002, "p");
    assert_eq!(ok(redeliver_all(&app, "?state=dead&dryRun=true")), counts(10_000, 0, true));
    assert_eq!(ok(redeliver_all(&app, "?state=dead")), counts(10_000, 10_000, false));
    let left = ids(&app.events("?state=dead"));
    assert_eq!(left, ["00000000-0000-7000-8000-000000010002", "00000000-0000-7000-8000-000000010001"]);
    assert_eq!(ok(redeliver_all(&app, "?state=dead")), counts(2, 2, false));
    assert_eq!(ok(redeliver_all(&app, "?state=dead")), counts(0, 0, false));
}

fn a_bad_redelivery_changes_nothing(store: Store) {
    let app = app_with_events(store);
    let before = app.events("");
    for (query, field) in [
        ("?dryRun=", "dryRun"),
        ("?dryRun", "dryRun"),
        ("?dryRun=1", "dryRun"),
        ("?state=dead&dryRun=TRUE", "dryRun"),
        ("?dryRun=true&dryRun=true", "dryRun"),
        ("?state=", "state"),
        ("?state=unsent", "state"),
        ("?order=", "order"),
        ("?since=", "since"),
        ("?since=today", "since"),
        ("?payment=p1", "query"),
        ("?limit=1", "query"),
    ] {
        let problem = assert_problem(&redeliver_all(&app, query), 400, "invalid_request");
        assert_eq!(bad_fields(&problem), [field], "{query}");
    }
    // One event is redelivered or not: no parameter is taken for a dry run.
    let dead = word(&app.events("?state=dead")[0]["eventId"]);
    for query in ["?dryRun=true", "?dryRun=", "?state=dead"] {
        let answer = app.post(OPERATOR_KEY, &format!("/api/events/{dead}/redeliver{query}"));
        assert_eq!(bad_fields(&assert_problem(&answer, 400, "invalid_request")), ["query"], "{query}");
    }
    assert_eq!(app.events(""), before);
}
