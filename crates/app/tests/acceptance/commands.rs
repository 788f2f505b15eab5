//! The command line on a ledger (contract §1): the same rule and the same documents as over HTTP.

use std::process::Output;

use serde_json::{Value, json};

use crate::stage::{
    OPERATOR_KEY, PORTAL_KEY, Stage, Store, assert_settled, callback, command, folder, names, notification, without,
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
    no_command_works_on_a_ledger_that_is_not_there,
    an_id_may_be_any_text,
}

#[track_caller]
fn printed(output: &Output, code: i32) -> String {
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{error}");
    // Either a result or one line that says why there is none.
    assert_eq!(error.lines().count(), usize::from(out.is_empty()), "{out}{error}");
    out.into_owned()
}

#[track_caller]
fn document(output: &Output) -> Value {
    serde_json::from_str(&printed(output, 0)).expect("JSON")
}

/// A refusal is one line on stderr and nothing on stdout.
#[track_caller]
fn assert_refused(output: &Output, code: i32, naming: &str) {
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
    assert_eq!(
        migrate(),
        "applied 2026-11-23-000000_ledger\napplied 2026-11-23-000001_open_payments\n\
         applied 2026-11-24-000000_lighter_callbacks\napplied 2026-11-24-000001_surrogate_keys\n\
         applied 2026-11-25-000000_partial_refund_transactions\n\
         applied 2026-11-25-000001_parked_identities\n"
    );
    assert_eq!(migrate(), "nothing to do: every migration has been applied\n");
}

fn migrate_says_it_to_scripts_too(store: Store) {
    let environment = [("DATABASE_URL", &*store.url())];
    let migrate = || document(&command(&folder(), &["migrate", "--json"], &environment));
    let applied = migrate()["applied"].clone();
    assert_eq!(applied[0], "2026-11-23-000000_ledger");
    assert!(applied.as_array().is_some_and(|applied| applied.len() > 4), "{applied}");
    assert_eq!(migrate(), json!({ "applied": [] }));
}

fn a_history_is_whole(store: Store) {
    const REPETITIONS: usize = 520;
    let stage = Stage::open(store);
    stage.expect_payment("p", "o");
    let repeated = callback(&notification("p", "o", "completed"));
    let mut connection = stage.service.connect().expect("a connection");
    for _ in 0..REPETITIONS {
        assert_eq!(connection.exchange(&repeated).expect("an answer").status, 200);
    }
    // Over HTTP it is the newest 500, and where to go on.
    let history = stage.payment("p");
    let newest = history["deliveries"].as_array().expect("a list").clone();
    assert_eq!((newest.len(), &newest[499]["outcome"]), (500, &json!("duplicate")));
    let older = stage.deliveries(&format!("?payment=p&limit=500&cursor={}", word(&history["nextCursor"])));
    assert_eq!((older.len(), &older[19]["outcome"]), (20, &json!("completed")));

    let whole = json!([newest, older].concat());
    let shown = document(&stage.command(&["payment", "p", "--json"]));
    assert_eq!((names(&shown), &shown["deliveries"]), (vec!["deliveries", "order", "payment"], &whole));
    let shown = document(&stage.command(&["order", "o", "--json"]));
    assert_eq!((names(&shown), &shown["deliveries"]), (vec!["deliveries", "order", "payments"], &whole));
    for arguments in [["payment", "p"], ["order", "o"]] {
        let shown = printed(&stage.command(&arguments), 0);
        assert_eq!(shown.lines().filter(|line| line.contains("callback")).count(), REPETITIONS);
        assert!(shown.contains("pending → completed"), "the entry that paid");
    }
}

fn an_order_shows_what_was_said_about_its_payments(store: Store) {
    let stage = Stage::open(store);
    stage.expect_payment("p", "o");
    stage.expect_payment("p2", "o");
    stage.expect_payment("p3", "o3");
    stage.callback(&notification("p", "o", "completed"));
    stage.callback(&notification("p2", "elsewhere", "completed"));
    stage.callback(&json!({ "paymentId": "p2" }));
    stage.callback(&notification("p3", "o3", "completed"));
    stage.callback(&notification("unknown", "o", "completed"));
    let shown = document(&stage.command(&["order", "o", "--json"]));
    let outcomes: Vec<_> =
        shown["deliveries"].as_array().expect("a list").iter().map(|entry| word(&entry["outcome"])).collect();
    assert_eq!(outcomes, ["parked", "invalid", "rejected", "completed"]);
}

fn register_answers_as_the_portal_s_call_does(store: Store) {
    let stage = Stage::open(store);
    stage.callback(&notification("p", "o", "completed"));
    let json = |arguments: Vec<&str>| document(&stage.command(&[&arguments[..], &["--json"]].concat()));
    let registered = json(register("p", "o"));
    assert_eq!(names(&registered), ["applied", "order", "payment", "status"]);
    assert_eq!((&registered["status"], &registered["applied"]), (&json!("registered"), &json!(["completed"])));
    assert_eq!(registered["payment"], stage.payment("p")["payment"]);
    assert_eq!(json(register("p", "o"))["status"], "exists");
    let details = ["--redirect-url", "https://portal.example/", "--invoice-number", "1", "--user-id", "42"];
    let by_invoice = [&register("p2", "o")[..9], &["--method", "invoice"], &details].concat();
    let registered = json(by_invoice);
    assert_eq!(registered["payment"]["redirectUrl"], "https://portal.example/");
    assert_eq!(registered["payment"]["record"]["invoiceNumber"], "1");
    assert!(printed(&stage.command(&register("p3", "o3")), 0).starts_with("registered\n"));

    assert_refused(&stage.command(&register("p", "elsewhere")), 1, "registered with another order");
    let dearer: Vec<_> = register("p4", "o").into_iter().map(|word| if word == "29" { "30" } else { word }).collect();
    assert_refused(&stage.command(&dearer), 1, "another amount");
    for (change, to) in [("29", "29.001"), ("29", "0"), ("29", "x"), ("eur", "EURO"), ("webpay", "beads"), ("p5", "")] {
        let bad: Vec<_> = register("p5", "o5").into_iter().map(|word| if word == change { to } else { word }).collect();
        assert_refused(&stage.command(&bad), 2, "--");
    }
    assert_refused(&stage.command(&["register"]), 2, "--payment-id");
}

fn what_is_read_is_what_the_portal_reads(store: Store) {
    let stage = Stage::open(store);
    stage.expect_payment("p", "o");
    stage.expect_payment("p2", "o");
    assert_settled(&stage.callback(&notification("p", "o", "completed")), "completed");
    assert_eq!(document(&stage.command(&["payment", "p", "--json"])), stage.payment("p"));
    let of_order = document(&stage.command(&["order", "o", "--json"]));
    assert_eq!(of_order["deliveries"], stage.payment("p")["deliveries"]);
    assert_eq!(without(of_order, "deliveries"), stage.order("o"));
    let all = stage.get(OPERATOR_KEY, "/api/deliveries").json();
    assert_eq!(document(&stage.command(&["deliveries", "--json"])), all);
    // For people, the same in other words.
    let shown = printed(&stage.command(&["order", "o"]), 0);
    assert!(
        ["paid", "29.00 EUR", "p2", "WebPay", "pending → completed"].iter().all(|part| shown.contains(part)),
        "{shown}"
    );
    let shown = printed(&stage.command(&["payment", "p"]), 0);
    assert!(["completed", "paid by", "callback"].iter().all(|part| shown.contains(part)), "{shown}");
    assert_refused(&stage.command(&["payment", "unknown"]), 1, "no such payment");
    assert_refused(&stage.command(&["order", "unknown"]), 1, "no payment of such an order");
    assert_refused(&stage.command(&["payment"]), 2, "<ID>");
    assert_refused(&stage.command(&["payment", ""]), 2, "");
}

fn the_audit_trail_is_filtered(store: Store) {
    let stage = Stage::open(store);
    stage.expect_payment("p", "o");
    for status in ["failed", "completed", "failed"] {
        stage.callback(&notification("p", "o", status));
    }
    stage.callback(&notification("p2", "o2", "failed"));
    let since = word(&stage.deliveries("")[0]["receivedAt"]);
    for (arguments, query) in [
        (vec!["--payment", "p"], "?payment=p".to_owned()),
        (vec!["--order", "o2"], "?order=o2".to_owned()),
        (vec!["--outcome", "ignored"], "?outcome=ignored".to_owned()),
        (vec!["--since", &since], format!("?since={since}")),
        (vec!["--limit", "2"], "?limit=2".to_owned()),
        (vec!["--limit", "2", "--payment", "p"], "?limit=2&payment=p".to_owned()),
        (vec!["--payment", "nobody"], "?payment=nobody".to_owned()),
    ] {
        let listed = document(&stage.command(&[&["deliveries", "--json"], &arguments[..]].concat()));
        assert_eq!(listed, stage.get(OPERATOR_KEY, &format!("/api/deliveries{query}")).json(), "{arguments:?}");
    }
    for (option, value) in [("--outcome", "paid"), ("--since", "yesterday"), ("--limit", "0"), ("--limit", "501")] {
        assert_refused(&stage.command(&["deliveries", option, value]), 2, option);
    }
    let shown = printed(&stage.command(&["deliveries"]), 0);
    assert_eq!(shown.lines().count(), 5, "{shown}");
}

fn replay_goes_through_the_same_rule(store: Store) {
    let stage = Stage::open(store);
    stage.callback(&notification("p", "o", "completed"));
    stage.callback(&json!({}));
    let deliveries = stage.deliveries("");
    let (invalid, parked) = (word(&deliveries[0]["deliveryId"]), word(&deliveries[1]["deliveryId"]));
    assert!(printed(&stage.command(&["replay", &parked]), 1).starts_with("outcome: parked\n"));
    assert_eq!(stage.outcomes("p"), ["parked", "parked"]);
    stage.expect_payment("p", "o");
    let before = stage.deliveries("");
    let tried = document(&stage.command(&["replay", &parked, "--dry-run", "--json"]));
    assert_eq!(names(&tried), ["delivery", "dryRun", "order", "outcome", "payment"]);
    assert_eq!((&tried["outcome"], &tried["dryRun"]), (&json!("duplicate"), &json!(true)));
    assert_eq!(stage.deliveries(""), before);
    let replayed = document(&stage.command(&["replay", &parked, "--json"]));
    assert_eq!((&replayed["outcome"], &replayed["dryRun"]), (&json!("duplicate"), &json!(false)));
    assert_eq!(replayed["delivery"], stage.deliveries("")[0]);
    assert_eq!(replayed["delivery"]["source"], "replay");
    assert!(printed(&stage.command(&["replay", &parked]), 0).contains("outcome: duplicate"));
    assert_refused(&stage.command(&["replay", &invalid]), 1, "invalid delivery");
    let unknown = "00000000-0000-7000-8000-000000000000";
    assert_refused(&stage.command(&["replay", unknown]), 1, "no such delivery");
    assert_refused(&stage.command(&["replay", "x"]), 2, "<DELIVERY>");
}

fn no_command_works_on_a_ledger_that_is_not_there(store: Store) {
    let environment = [("DATABASE_URL", &*store.url())];
    for arguments in [
        &register("p", "o")[..],
        &["payment", "p"],
        &["order", "o"],
        &["deliveries"],
        &["replay", "00000000-0000-7000-8000-000000000000"],
    ] {
        assert_refused(&command(&folder(), arguments, &environment), 1, "payment-callback migrate");
    }
}

fn an_id_may_be_any_text(store: Store) {
    let stage = Stage::open(store);
    for id in ["a/b c", "order 3 \"ěš/\\", "😀", "-1", "--json"] {
        let (payment, order) = (format!("--payment-id={id}"), format!("--order-id={id}"));
        let price = ["--amount=29", "--currency=EUR", "--method=card", "--json"];
        let registered = stage.command(&[&["register", &payment, &order], &price[..]].concat());
        assert_eq!(document(&registered)["payment"]["paymentId"], id);
        assert_eq!(document(&stage.command(&["order", "--json", "--", id]))["order"], stage.order(id)["order"]);
        assert_eq!(stage.get(PORTAL_KEY, &format!("/api/payments/{}", simulator::percent_encoded(id))).status, 200);
    }
}

#[test]
fn help_names_every_setting_with_its_variable_and_default() {
    let folder = folder();
    let help = |arguments: &[&str]| printed(&command(&folder, arguments, &[]), 0);
    let overview = help(&["--help"]);
    for subcommand in ["serve", "migrate", "register", "send", "payment", "order", "deliveries", "replay"] {
        assert!(overview.contains(&format!("  {subcommand}")), "{overview}");
        assert!(help(&[subcommand, "--help"]).contains("--help"));
    }
    let serve = help(&["serve", "--help"]);
    for (variable, default) in [
        ("PAYMENT_API_KEY", ""),
        ("PAYMENT_WEBHOOK_SECRET", ""),
        ("WEBHOOK_AUTH", "api-key"),
        ("PORTAL_API_KEY", ""),
        ("OPERATOR_API_KEY", ""),
        ("DATABASE_URL", "sqlite://data/payment-callback.sqlite3"),
        ("DATABASE_POOL_SIZE", "8"),
        ("DATABASE_WAIT_S", "30"),
        ("BIND_ADDRESS", "127.0.0.1:8080"),
        ("RESPONSE_DEADLINE_MS", "4000"),
        ("BODY_BYTES_MAX", "65536"),
        ("INTAKE_QUEUE_MAX", "4096"),
        ("KEEP_ALIVE_S", "75"),
        ("LOG_LEVEL", "info"),
        ("LOG_FORMAT", "pretty on a terminal, else json"),
        ("SERVICE_NAME", "payment-callback"),
        ("LOGGING_SERVICE_URL", "none"),
        ("LOGGING_SERVICE_API_PATH", "/api/logs"),
    ] {
        assert!(serve.contains(variable), "{variable}: {serve}");
        assert!(default.is_empty() || serve.contains(&format!("[default: {default}]")), "{default}: {serve}");
        assert!(overview.contains(variable), "{variable}: {overview}");
    }
    let secret = [("PAYMENT_API_KEY", "marked"), ("DATABASE_URL", "postgres://u:marked@h/d"), ("LOG_LEVEL", "marked")];
    assert!(!printed(&command(&folder, &["serve", "--help"], &secret), 0).contains("marked"));
    let version = help(&["--version"]);
    assert!(version.starts_with("payment-callback ") && version.contains('('), "version and commit: {version}");
}

#[test]
fn what_is_no_command_is_a_usage_error() {
    let folder = folder();
    for (arguments, naming) in [
        (&["serves"][..], "serves"),
        (&["serve", "--prot", "1"], "--prot"),
        (&["order", "a", "b"], "b"),
        (&["deliveries", "--limit"], "DELIVERIES_LIMIT (--limit) needs a value"),
    ] {
        assert_refused(&command(&folder, arguments, &[("PAYMENT_API_KEY", "k")]), 2, naming);
    }
    let nothing = command(&folder, &[], &[]);
    assert_eq!(nothing.status.code(), Some(2));
}
