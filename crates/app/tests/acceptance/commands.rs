//! The command line on a ledger (contract §1): the same rule and the same documents as over HTTP.

use std::process::Output;

use serde_json::{Value, json};

use crate::test_app::{
    OPERATOR_KEY, PORTAL_KEY, Store, TestApp, assert_settled, callback, command, folder, names, notification, without,
    word,
};

on_both_stores! {
    migrate_says_what_it_applied,
    migrate_says_it_to_scripts_too,
    a_history_is_whole,
    an_order_shows_what_was_said_about_its_payments,
    register_answers_as_the_portal_s_call_does,
    what_is_read_is_what_the_portal_reads,
    the_audit_trail_is_filtered,
    replay_goes_through_the_same_rule,
    events_are_shown_as_operators_read_them,
    an_event_or_all_that_match_are_redelivered,
    what_a_command_changes_is_logged_on_stderr,
    no_command_works_on_a_ledger_that_is_not_there,
    an_id_may_be_any_text,
}

#[track_caller]
pub(crate) fn printed(output: &Output, code: i32) -> String {
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{error}");
    // Either a result or one line that says why there is none; beside it, log records.
    let complaints = error.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).count();
    assert_eq!(complaints, usize::from(out.is_empty()), "{out}{error}");
    out.into_owned()
}

/// The messages of the log records on stderr, with the payments that they name.
pub(crate) fn logged(output: &Output) -> Vec<(String, Value)> {
    let records = String::from_utf8_lossy(&output.stderr);
    let records = records.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.map(|record| (word(&record["message"]), record["payment_id"].clone())).collect()
}

#[track_caller]
pub(crate) fn document(output: &Output) -> Value {
    serde_json::from_str(&printed(output, 0)).expect("JSON")
}

/// A refusal is one line on stderr and nothing on stdout.
#[track_caller]
pub(crate) fn assert_refused(output: &Output, code: i32, naming: &str) {
    assert_eq!(printed(output, code), "");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains(naming), "{naming}: {error}");
}

fn register<'a>(payment: &'a str, order: &'a str) -> Vec<&'a str> {
    [
        "register",
        "--payment-id",
        payment,
        "--order-id",
        order,
        "--amount",
        "29",
        "--currency",
        "eur",
        "--method",
        "webpay",
    ]
    .into()
}

fn migrate_says_what_it_applied(store: Store) {
    let environment = [("DATABASE_URL", &*store.url())];
    let migrate = || printed(&command(&folder(), &["migrate"], &environment), 0);
    assert_eq!(migrate(), "applied 2026-11-25-000002_ledger\napplied 2026-11-25-000003_outbox\n");
    assert_eq!(migrate(), "nothing to do: every migration has been applied\n");
}

fn migrate_says_it_to_scripts_too(store: Store) {
    let environment = [("DATABASE_URL", &*store.url())];
    let migrate = || document(&command(&folder(), &["migrate", "--json"], &environment));
    assert_eq!(migrate(), json!({ "applied": ["2026-11-25-000002_ledger", "2026-11-25-000003_outbox"] }));
    assert_eq!(migrate(), json!({ "applied": [] }));
}

fn a_history_is_whole(store: Store) {
    const REPETITIONS: usize = 520;
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let repeated = callback(&notification("p", "o", "completed"));
    let mut connection = app.service.connect().expect("a connection");
    for _ in 0..REPETITIONS {
        assert_eq!(connection.exchange(&repeated).expect("an answer").status, 200);
    }
    // Over HTTP it is the newest 500, and where to go on.
    let history = app.payment("p");
    let newest = history["deliveries"].as_array().expect("a list").clone();
    assert_eq!((newest.len(), &newest[499]["outcome"]), (500, &json!("duplicate")));
    let older = app.deliveries(&format!("?payment=p&limit=500&cursor={}", word(&history["nextCursor"])));
    assert_eq!((older.len(), &older[19]["outcome"]), (20, &json!("completed")));

    let whole = json!([newest, older].concat());
    let shown = document(&app.command(&["payment", "p", "--json"]));
    assert_eq!((names(&shown), &shown["deliveries"]), (vec!["deliveries", "order", "payment"], &whole));
    let shown = document(&app.command(&["order", "o", "--json"]));
    assert_eq!((names(&shown), &shown["deliveries"]), (vec!["deliveries", "order", "payments"], &whole));
    for arguments in [["payment", "p"], ["order", "o"]] {
        let shown = printed(&app.command(&arguments), 0);
        assert_eq!(shown.lines().filter(|line| line.contains("callback")).count(), REPETITIONS);
        assert!(shown.contains("pending → completed"), "the entry that paid");
    }
}

fn an_order_shows_what_was_said_about_its_payments(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    app.expect_payment("p2", "o");
    app.expect_payment("p3", "o3");
    app.callback(&notification("p", "o", "completed"));
    app.callback(&notification("p2", "elsewhere", "completed"));
    app.callback(&json!({ "paymentId": "p2" }));
    app.callback(&notification("p3", "o3", "completed"));
    app.callback(&notification("unknown", "o", "completed"));
    let shown = document(&app.command(&["order", "o", "--json"]));
    let outcomes: Vec<_> =
        shown["deliveries"].as_array().expect("a list").iter().map(|entry| word(&entry["outcome"])).collect();
    assert_eq!(outcomes, ["parked", "invalid", "rejected", "completed"]);
}

fn register_answers_as_the_portal_s_call_does(store: Store) {
    let app = TestApp::open(store);
    app.callback(&notification("p", "o", "completed"));
    let json = |arguments: Vec<&str>| document(&app.command(&[&arguments[..], &["--json"]].concat()));
    let registered = json(register("p", "o"));
    assert_eq!(names(&registered), ["applied", "order", "payment", "status"]);
    assert_eq!((&registered["status"], &registered["applied"]), (&json!("registered"), &json!(["completed"])));
    assert_eq!(registered["payment"], app.payment("p")["payment"]);
    assert_eq!(json(register("p", "o"))["status"], "exists");
    let details = ["--redirect-url", "https://portal.example/", "--invoice-number", "1", "--user-id", "42"];
    let by_invoice = [&register("p2", "o")[..9], &["--method", "invoice"], &details].concat();
    let registered = json(by_invoice);
    assert_eq!(registered["payment"]["redirectUrl"], "https://portal.example/");
    assert_eq!(registered["payment"]["record"]["invoiceNumber"], "1");
    assert!(printed(&app.command(&register("p3", "o3")), 0).starts_with("registered\n"));

    assert_refused(&app.command(&register("p", "elsewhere")), 1, "registered with another order");
    let dearer: Vec<_> = register("p4", "o").into_iter().map(|word| if word == "29" { "30" } else { word }).collect();
    assert_refused(&app.command(&dearer), 1, "another amount");
    for (change, to) in [("29", "29.001"), ("29", "0"), ("29", "x"), ("eur", "EURO"), ("webpay", "beads"), ("p5", "")] {
        let bad: Vec<_> = register("p5", "o5").into_iter().map(|word| if word == change { to } else { word }).collect();
        assert_refused(&app.command(&bad), 2, "--");
    }
    assert_refused(&app.command(&["register"]), 2, "--payment-id");
}

fn what_a_command_changes_is_logged_on_stderr(store: Store) {
    let app = TestApp::open(store);
    app.callback(&notification("p", "o", "completed"));
    let of_payment = |messages: &[&str]| messages.iter().map(|it| ((*it).to_owned(), json!("p"))).collect::<Vec<_>>();
    let registered = app.command(&register("p", "o"));
    assert_eq!(logged(&registered), of_payment(&["registration", "notification settled"]));
    let parked = word(&app.deliveries("?outcome=parked")[0]["deliveryId"]);
    let tried = app.command(&["replay", &parked, "--dry-run"]);
    assert_eq!(logged(&tried), of_payment(&["replay tried; nothing changed"]));
    let replayed = app.command(&["replay", &parked]);
    assert_eq!(logged(&replayed), of_payment(&["replay", "notification settled"]));
    let quiet = app.command(&["replay", &parked, "--log-level", "error"]);
    assert_eq!(logged(&quiet), []);
    let event = word(&app.events("")[0]["eventId"]);
    let of_events = |message: &str| vec![(message.to_owned(), json!(null))];
    assert_eq!(logged(&app.command(&["redeliver", &event])), of_events("redelivery"));
    assert_eq!(logged(&app.command(&["redeliver", "--order", "o"])), of_events("redelivery"));
    let tried = app.command(&["redeliver", "--order", "o", "--dry-run"]);
    assert_eq!(logged(&tried), of_events("redelivery tried; nothing changed"));
    for reading in [["payment", "p"], ["order", "o"], ["event", &event]] {
        assert_eq!(logged(&app.command(&reading)), []);
    }
}

fn what_is_read_is_what_the_portal_reads(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    app.expect_payment("p2", "o");
    assert_settled(&app.callback(&notification("p", "o", "completed")), "completed");
    assert_eq!(document(&app.command(&["payment", "p", "--json"])), app.payment("p"));
    let of_order = document(&app.command(&["order", "o", "--json"]));
    assert_eq!(of_order["deliveries"], app.payment("p")["deliveries"]);
    assert_eq!(without(of_order, "deliveries"), app.order("o"));
    let all = app.get(OPERATOR_KEY, "/api/deliveries").json();
    assert_eq!(document(&app.command(&["deliveries", "--json"])), all);
    // For people, the same in other words.
    let shown = printed(&app.command(&["order", "o"]), 0);
    assert!(
        ["paid", "29.00 EUR", "p2", "webpay, status completed, transaction id none", "pending → completed"]
            .iter()
            .all(|part| shown.contains(part)),
        "{shown}"
    );
    let shown = printed(&app.command(&["payment", "p"]), 0);
    assert!(["completed", "paid by", "callback"].iter().all(|part| shown.contains(part)), "{shown}");
    assert_refused(&app.command(&["payment", "unknown"]), 1, "no such payment");
    assert_refused(&app.command(&["order", "unknown"]), 1, "no payment of such an order");
    assert_refused(&app.command(&["payment"]), 2, "<ID>");
    assert_refused(&app.command(&["payment", ""]), 2, "");
}

fn the_audit_trail_is_filtered(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    for status in ["failed", "completed", "failed"] {
        app.callback(&notification("p", "o", status));
    }
    app.callback(&notification("p2", "o2", "failed"));
    let since = word(&app.deliveries("")[0]["receivedAt"]);
    for (arguments, query) in [
        (vec!["--payment", "p"], "?payment=p".to_owned()),
        (vec!["--order", "o2"], "?order=o2".to_owned()),
        (vec!["--outcome", "ignored"], "?outcome=ignored".to_owned()),
        (vec!["--since", &since], format!("?since={since}")),
        (vec!["--limit", "2"], "?limit=2".to_owned()),
        (vec!["--limit", "2", "--payment", "p"], "?limit=2&payment=p".to_owned()),
        (vec!["--payment", "nobody"], "?payment=nobody".to_owned()),
    ] {
        let listed = document(&app.command(&[&["deliveries", "--json"], &arguments[..]].concat()));
        assert_eq!(listed, app.get(OPERATOR_KEY, &format!("/api/deliveries{query}")).json(), "{arguments:?}");
    }
    for (option, value) in [("--outcome", "paid"), ("--since", "yesterday"), ("--limit", "0"), ("--limit", "501")] {
        assert_refused(&app.command(&["deliveries", option, value]), 2, option);
    }
    let shown = printed(&app.command(&["deliveries"]), 0);
    assert_eq!(shown.lines().count(), 5, "{shown}");
}

fn replay_goes_through_the_same_rule(store: Store) {
    let app = TestApp::open(store);
    app.callback(&notification("p", "o", "completed"));
    app.callback(&json!({}));
    let deliveries = app.deliveries("");
    let (invalid, parked) = (word(&deliveries[0]["deliveryId"]), word(&deliveries[1]["deliveryId"]));
    assert!(printed(&app.command(&["replay", &parked]), 1).starts_with("outcome: parked\n"));
    assert_eq!(app.outcomes("p"), ["parked", "parked"]);
    app.expect_payment("p", "o");
    let before = app.deliveries("");
    let tried = document(&app.command(&["replay", &parked, "--dry-run", "--json"]));
    assert_eq!(names(&tried), ["delivery", "dryRun", "order", "outcome", "payment"]);
    assert_eq!((&tried["outcome"], &tried["dryRun"]), (&json!("duplicate"), &json!(true)));
    assert_eq!(app.deliveries(""), before);
    let replayed = document(&app.command(&["replay", &parked, "--json"]));
    assert_eq!((&replayed["outcome"], &replayed["dryRun"]), (&json!("duplicate"), &json!(false)));
    assert_eq!(replayed["delivery"], app.deliveries("")[0]);
    assert_eq!(replayed["delivery"]["source"], "replay");
    assert!(printed(&app.command(&["replay", &parked]), 0).contains("outcome: duplicate"));
    assert_refused(&app.command(&["replay", &invalid]), 1, "invalid delivery");
    let unknown = "00000000-0000-7000-8000-000000000000";
    assert_refused(&app.command(&["replay", unknown]), 1, "no such delivery");
    assert_refused(&app.command(&["replay", "x"]), 2, "<DELIVERY>");
}

/// An order that is paid and refunded: the portal has been told of the first and not of the second.
fn app_with_events(store: Store) -> (TestApp, String, String) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    for status in ["completed", "refunded"] {
        app.callback(&notification("p", "o", status));
    }
    let events = app.events("");
    let (paid, refunded) = (word(&events[1]["eventId"]), word(&events[0]["eventId"]));
    app.store.end_event(&paid, "delivered");
    app.store.end_event(&refunded, "dead");
    (app, paid, refunded)
}

fn events_are_shown_as_operators_read_them(store: Store) {
    let (app, paid, refunded) = app_with_events(store);
    let read = |target: &str| app.get(OPERATOR_KEY, target).json();
    let since = word(&app.events("")[0]["createdAt"]);
    for (arguments, query) in [
        (vec![], String::new()),
        (vec!["--state", "dead"], "?state=dead".to_owned()),
        (vec!["--order", "o"], "?order=o".to_owned()),
        (vec!["--order", "unknown"], "?order=unknown".to_owned()),
        (vec!["--since", &since], format!("?since={since}")),
        (vec!["--limit", "1"], "?limit=1".to_owned()),
        (vec!["--limit", "1", "--state", "pending"], "?limit=1&state=pending".to_owned()),
    ] {
        let listed = document(&app.command(&[&["events", "--json"], &arguments[..]].concat()));
        assert_eq!(listed, read(&format!("/api/events{query}")), "{arguments:?}");
    }
    for (option, value) in [("--state", "sent"), ("--since", "yesterday"), ("--limit", "0"), ("--limit", "501")] {
        assert_refused(&app.command(&["events", option, value]), 2, option);
    }
    for id in [&paid, &refunded] {
        assert_eq!(document(&app.command(&["event", id, "--json"])), read(&format!("/api/events/{id}")));
        assert!(printed(&app.command(&["event", id]), 0).contains(id));
    }
    assert_refused(&app.command(&["event", "00000000-0000-7000-8000-000000000000"]), 1, "no such event");
    assert_refused(&app.command(&["event", "x"]), 2, "<ID>");
    assert_refused(&app.command(&["event"]), 2, "<ID>");
}

fn an_event_or_all_that_match_are_redelivered(store: Store) {
    let (app, paid, refunded) = app_with_events(store);
    let states = || app.events("").iter().map(|event| word(&event["state"])).collect::<Vec<_>>();
    let dead = ["redeliver", "--state", "dead", "--json"];
    let tried = document(&app.command(&[&dead[..], &["--dry-run"]].concat()));
    assert_eq!(tried, json!({ "matched": 1, "redelivered": 0, "dryRun": true }));
    assert_eq!(states(), ["dead", "delivered"]);
    assert_eq!(document(&app.command(&dead)), json!({ "matched": 1, "redelivered": 1, "dryRun": false }));
    assert_eq!(states(), ["pending", "delivered"]);
    let nothing = json!({ "matched": 0, "redelivered": 0, "dryRun": false });
    assert_eq!(document(&app.command(&dead)), nothing, "nothing to do is no failure");
    let redelivered = document(&app.command(&["redeliver", &paid, "--json"]));
    assert_eq!(redelivered, app.events("")[1]);
    assert_eq!((&redelivered["eventId"], &redelivered["state"]), (&json!(paid), &json!("pending")));
    assert!(printed(&app.command(&["redeliver", &refunded]), 0).contains("pending"));
    assert_eq!(
        printed(&app.command(&["redeliver", "--order", "o", "--since", "2020-01-01T00:00:00Z"]), 0),
        "redelivered: 2\n"
    );

    assert_refused(&app.command(&["redeliver", "00000000-0000-7000-8000-000000000000"]), 1, "no such event");
    for (arguments, naming) in [
        (&[][..], "<EVENT|--state <WORD>|--order <ID>|--since <TIME>>"),
        (&["--dry-run"], "<EVENT|"),
        (&[&*paid, "--dry-run"], "--dry-run"),
        (&[&*paid, "--state", "dead"], "--state"),
        (&["--state", "sent"], "REDELIVER_STATE (--state) must be one of pending, delivered, dead"),
        (&["x"], "must be an event's id"),
    ] {
        assert_refused(&app.command(&[&["redeliver"], arguments].concat()), 2, naming);
    }
}

fn no_command_works_on_a_ledger_that_is_not_there(store: Store) {
    let environment = [("DATABASE_URL", &*store.url())];
    for arguments in [
        &register("p", "o")[..],
        &["payment", "p"],
        &["order", "o"],
        &["deliveries"],
        &["replay", "00000000-0000-7000-8000-000000000000"],
        &["events"],
        &["event", "00000000-0000-7000-8000-000000000000"],
        &["redeliver", "00000000-0000-7000-8000-000000000000"],
        &["redeliver", "--state", "dead"],
        &["prune", "--older-than", "90d"],
    ] {
        assert_refused(&command(&folder(), arguments, &environment), 1, "payment-callback migrate");
    }
}

fn an_id_may_be_any_text(store: Store) {
    let app = TestApp::open(store);
    for id in ["a/b c", "order 3 \"ěš/\\", "😀", "-1", "--json"] {
        let (payment, order) = (format!("--payment-id={id}"), format!("--order-id={id}"));
        let price = ["--amount=29", "--currency=EUR", "--method=card", "--json"];
        let registered = app.command(&[&["register", &payment, &order], &price[..]].concat());
        assert_eq!(document(&registered)["payment"]["paymentId"], id);
        assert_eq!(document(&app.command(&["order", "--json", "--", id]))["order"], app.order(id)["order"]);
        assert_eq!(app.get(PORTAL_KEY, &format!("/api/payments/{}", simulator::percent_encoded(id))).status, 200);
    }
}

#[test]
fn help_shows_no_value_of_a_variable() {
    let folder = folder();
    let secret = [("PAYMENT_API_KEY", "marked"), ("DATABASE_URL", "postgres://u:marked@h/d"), ("LOG_LEVEL", "marked")];
    for arguments in [&["--help"][..], &["serve", "--help"]] {
        assert!(!printed(&command(&folder, arguments, &secret), 0).contains("marked"));
    }
}

#[test]
fn the_version_is_that_of_the_package_and_its_commit() {
    let version = printed(&command(&folder(), &["--version"], &[]), 0);
    let expected = concat!("payment-callback ", env!("CARGO_PKG_VERSION"), " (");
    assert!(version.starts_with(expected) && version.ends_with(")\n"), "{version}");
}

#[test]
fn what_is_no_command_is_a_usage_error() {
    let folder = folder();
    for (arguments, naming) in [
        (&["serves"][..], "serves"),
        (&["serve", "--prot", "1"], "--prot"),
        (&["order", "a", "b"], "b"),
        (&["deliveries", "--limit"], "DELIVERIES_LIMIT (--limit) needs a value"),
        (&["events", "--limit", "0"], "EVENTS_LIMIT (--limit) must be"),
        (&["send", "--payment-id", ""], "SEND_PAYMENT_ID (--payment-id) must"),
    ] {
        assert_refused(&command(&folder, arguments, &[("PAYMENT_API_KEY", "k")]), 2, naming);
    }
    let nothing = command(&folder, &[], &[]);
    assert_eq!(nothing.status.code(), Some(2));
}
