//! The audit trail, and applying what stands in it again (contract §6).

use serde_json::{Value, json};

use crate::test_app::{
    OPERATOR_KEY, Store, TestApp, assert_problem, assert_settled, bad_fields, names, notification, ok, registration,
    with, word,
};

on_both_stores! {
    entries_are_found_by_any_combination_of_filters,
    pages_follow_each_other_without_gap_or_overlap,
    a_bad_query_is_an_invalid_request,
    a_replay_goes_through_the_same_rule,
    a_dry_run_shows_what_would_change_and_changes_nothing,
    a_replay_of_an_unknown_payment_is_parked,
    what_was_rejected_can_be_replayed,
    an_invalid_delivery_is_not_replayable,
}

/// Which entries a filter is to find.
type Wanted<'a> = &'a dyn Fn(&Value) -> bool;

/// The query's page, and where the next one begins.
fn page(app: &TestApp, query: &str) -> (Vec<Value>, Option<String>) {
    let document = ok(app.get(OPERATOR_KEY, &format!("/api/deliveries{query}")));
    assert_eq!(names(&document), ["deliveries", "nextCursor"]);
    let deliveries = document["deliveries"].as_array().expect("a list").clone();
    (deliveries, document["nextCursor"].as_str().map(str::to_owned))
}

fn ids(deliveries: &[Value]) -> Vec<String> {
    deliveries.iter().map(|delivery| word(&delivery["deliveryId"])).collect()
}

fn replay(app: &TestApp, delivery: &Value, query: &str) -> simulator::Response {
    app.post(OPERATOR_KEY, &format!("/api/deliveries/{}/replay{query}", word(&delivery["deliveryId"])))
}

fn entries_are_found_by_any_combination_of_filters(store: Store) {
    let app = TestApp::open(store);
    for (payment, order) in [("p1", "o1"), ("p2", "o1"), ("p3", "o3")] {
        app.expect_payment(payment, order);
        for status in ["failed", "completed", "failed"] {
            app.callback(&notification(payment, order, status));
        }
    }
    app.callback(&json!({ "paymentId": "p1" }));
    let all = app.deliveries("");
    assert_eq!(all.len(), 10);
    let mut newest_first = ids(&all);
    newest_first.sort();
    newest_first.reverse();
    assert_eq!(ids(&all), newest_first);
    let since = word(&all[3]["receivedAt"]);
    let is = |name: &'static str, value: &'static str| move |delivery: &Value| delivery[name] == value;
    let both =
        |one: fn(&Value) -> bool, other: fn(&Value) -> bool| move |delivery: &Value| one(delivery) && other(delivery);
    let filters: [(&str, Wanted<'_>); 9] = [
        ("?payment=p1", &is("paymentId", "p1")),
        ("?order=o1", &is("orderId", "o1")),
        ("?outcome=ignored", &is("outcome", "ignored")),
        ("?outcome=unapplied", &is("outcome", "unapplied")),
        ("?outcome=invalid", &is("outcome", "invalid")),
        ("?outcome=refunded", &is("outcome", "refunded")),
        ("?payment=p1&outcome=completed", &both(|d| d["paymentId"] == "p1", |d| d["outcome"] == "completed")),
        ("?order=o1&outcome=failed", &both(|d| d["orderId"] == "o1", |d| d["outcome"] == "failed")),
        ("?payment=p1&order=o3", &|_| false),
    ];
    for (query, wanted) in filters {
        let expected: Vec<_> = all.iter().filter(|delivery| wanted(delivery)).cloned().collect();
        assert_eq!(ids(&app.deliveries(query)), ids(&expected), "{query}");
    }
    let recent = |delivery: &Value| word(&delivery["receivedAt"]) >= since;
    let expected: Vec<_> = all.iter().filter(|delivery| recent(delivery)).cloned().collect();
    for written in [since.clone(), since.replace('Z', "+00:00"), since.replace('Z', "%2B00:00")] {
        assert_eq!(ids(&app.deliveries(&format!("?since={written}"))), ids(&expected), "{written}");
    }
    assert_eq!(app.deliveries("?since=2999-01-01T00:00:00Z"), [json!(null); 0]);
    assert_eq!(app.deliveries("?since=1970-01-01T00:00:00Z").len(), 10);
}

fn pages_follow_each_other_without_gap_or_overlap(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    for _ in 0..52 {
        app.callback(&notification("p", "o", "processing"));
    }
    let (all, end) = page(&app, "?limit=500");
    assert_eq!((all.len(), end), (52, None));
    assert_eq!(page(&app, "").0, all[..50], "50 if left out");
    for (limit, filter) in [(1, ""), (20, ""), (26, "&payment=p"), (51, "&outcome=duplicate")] {
        let (mut seen, mut query) = (Vec::new(), format!("?limit={limit}{filter}"));
        loop {
            let (deliveries, cursor) = page(&app, &query);
            assert!(deliveries.len() == limit || cursor.is_none());
            seen.extend(deliveries);
            // What comes in meanwhile is newer than any page that follows.
            app.callback(&notification("another", "o2", "processing"));
            match cursor {
                Some(cursor) => query = format!("?limit={limit}{filter}&cursor={cursor}"),
                None => break,
            }
            if limit == 1 && seen.len() == 5 {
                break;
            }
        }
        let expected: Vec<_> = page(&app, &format!("?limit=500{filter}")).0;
        let of_p = |delivery: &&Value| delivery["paymentId"] == "p";
        let seen: Vec<_> = seen.iter().filter(of_p).cloned().collect();
        let expected: Vec<_> = expected.iter().filter(of_p).take(seen.len()).cloned().collect();
        assert_eq!(ids(&seen), ids(&expected));
        assert!(!seen.is_empty());
    }
}

fn a_bad_query_is_an_invalid_request(store: Store) {
    let app = TestApp::open(store);
    let long = format!("payment={}", "x".repeat(256));
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=1.5", "limit"),
        ("since=yesterday", "since"),
        ("since=2025-01-01", "since"),
        ("outcome=paid", "outcome"),
        ("outcome=Completed", "outcome"),
        ("cursor=x", "cursor"),
        ("payment=%00", "payment"),
        (&long, "payment"),
        ("order=a%0Ab", "order"),
        ("limit=1&limit=2", "limit"),
        ("lmit=1", "query"),
        ("payment=", "payment"),
        ("order=", "order"),
        ("outcome=", "outcome"),
        ("since=", "since"),
        ("limit=", "limit"),
        ("cursor=", "cursor"),
        ("limit", "limit"),
    ] {
        let problem =
            assert_problem(&app.get(OPERATOR_KEY, &format!("/api/deliveries?{query}")), 400, "invalid_request");
        assert_eq!(bad_fields(&problem), [field], "{query}");
    }
    let problem = app.get(OPERATOR_KEY, "/api/deliveries?limit=x&since=x&outcome=x&cursor=x");
    assert_eq!(bad_fields(&assert_problem(&problem, 400, "invalid_request")), ["cursor", "limit", "outcome", "since"]);
    let delivery = json!({ "deliveryId": "00000000-0000-7000-8000-000000000000" });
    for query in ["?dryRun=x", "?dryRun=1", "?dryRun=TRUE", "?dryRun=true&dryRun=true", "?dry=true"] {
        assert_problem(&replay(&app, &delivery, query), 400, "invalid_request");
    }
    app.expect_payment("p", "o");
    app.callback(&notification("p", "o", "completed"));
    let before = app.deliveries("");
    for query in ["?dryRun=", "?dryRun", "?dryRun=%20"] {
        assert_problem(&replay(&app, &before[0], query), 400, "invalid_request");
    }
    assert_eq!(app.deliveries(""), before, "nothing was replayed");
}

fn a_replay_goes_through_the_same_rule(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    app.callback(&notification("p", "o", "failed"));
    assert_settled(&app.callback(&notification("p", "o", "completed")), "completed");
    let deliveries = app.deliveries("");
    let (completed, failed) = (&deliveries[0], &deliveries[1]);
    for (original, outcome) in [(completed, "duplicate"), (failed, "ignored")] {
        let answer = replay(&app, original, "");
        let document = ok(answer.clone());
        assert_eq!(names(&document), ["delivery", "dryRun", "order", "outcome", "payment"]);
        assert_eq!((&document["outcome"], &document["dryRun"]), (&json!(outcome), &json!(false)));
        assert_eq!(
            (&document["payment"], &document["order"]),
            (&app.payment("p")["payment"], &app.order("o")["order"])
        );
        let entry = &app.deliveries("?limit=1")[0];
        assert_eq!(&document["delivery"], entry);
        assert_eq!((&entry["source"], &entry["outcome"]), (&json!("replay"), &json!(outcome)));
        assert_ne!(entry["deliveryId"], original["deliveryId"]);
        assert_eq!((&entry["bodySha256"], &entry["sentAt"]), (&original["bodySha256"], &original["sentAt"]));
        assert_eq!(entry["requestId"].as_str(), answer.header("x-request-id"));
        assert_ne!(entry["keyName"], original["keyName"], "the operator's key");
    }
    app.assert_order("o", "paid", Some("p"));
}

fn a_dry_run_shows_what_would_change_and_changes_nothing(store: Store) {
    let app = TestApp::open(store);
    app.callback(&notification("p", "o", "completed"));
    let parked = &app.deliveries("")[0];
    // Registered with another price first, so that it still waits, then as it is.
    let dearer = with(registration("p", "o"), json!({ "amount": "30.00" }));
    let report = with(notification("p", "o", "completed"), json!({ "amount": "29.00" }));
    app.callback(&report);
    assert_eq!(app.register(&dearer).json()["applied"], json!(["completed", "rejected"]));
    app.expect_payment("p2", "o2");
    app.callback(&notification("p2", "o2", "failed"));
    app.callback(&with(notification("p2", "o2", "completed"), json!({ "amount": "30.00" })));
    let before = (app.deliveries("?limit=500"), app.payment("p"), app.order("o"), app.store.events());
    let mismatch = before.0[0].clone();
    for (original, outcome) in [(parked, "duplicate"), (&mismatch, "rejected")] {
        for query in ["?dryRun=true", "?dryRun=true"] {
            let document = ok(replay(&app, original, query));
            assert_eq!((&document["outcome"], &document["dryRun"]), (&json!(outcome), &json!(true)));
            assert_eq!(document["delivery"]["deliveryId"], json!(null));
            assert_eq!(document["delivery"]["outcome"], outcome);
        }
    }
    assert_eq!((app.deliveries("?limit=500"), app.payment("p"), app.order("o"), app.store.events()), before);
    assert_eq!(ok(replay(&app, parked, "?dryRun=false"))["dryRun"], false);
    assert_eq!(app.deliveries("?limit=500").len(), before.0.len() + 1);
}

fn a_replay_of_an_unknown_payment_is_parked(store: Store) {
    let app = TestApp::open(store);
    app.callback(&notification("p", "o", "completed"));
    let document = ok(replay(&app, &app.deliveries("")[0], ""));
    assert_eq!(document["outcome"], "parked");
    assert_eq!((&document["payment"], &document["order"]), (&json!(null), &json!(null)));
    let applied = app.register(&registration("p", "o")).json()["applied"].clone();
    assert_eq!(applied, json!(["completed"]), "it waited already");
}

fn what_was_rejected_can_be_replayed(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let wrong_order = notification("p", "o2", "completed");
    assert_problem(&app.callback(&wrong_order), 400, "order_mismatch");
    let rejected = &app.deliveries("")[0];
    app.expect_payment("p2", "o2");
    let document = ok(replay(&app, rejected, ""));
    assert_eq!((&document["outcome"], &document["delivery"]["reason"]), (&json!("rejected"), &json!("order_mismatch")));
    assert_eq!(document["order"]["orderId"], "o", "the payment's own order");
    app.assert_order("o2", "pending", None);
}

fn an_invalid_delivery_is_not_replayable(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let unlike = json!({ "event": "failed" });
    assert_problem(&app.callback(&with(notification("p", "o", "completed"), unlike)), 400, "invalid_payload");
    for query in ["", "?dryRun=true"] {
        assert_problem(&replay(&app, &app.deliveries("")[0], query), 409, "not_replayable");
    }
    assert_eq!(app.deliveries("").len(), 1);
}
