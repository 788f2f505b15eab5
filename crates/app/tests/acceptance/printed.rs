//! What people and scrapers read, as whole texts in `snapshots/`: the help of each command, what commands print, and
//! the names, help, types and labels at `/metrics`.
//!
//! A difference fails the test. After a change that is wanted, `INSTA_UPDATE=always` writes the new texts
//! (CONTRIBUTING.md).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use chrono::DateTime;
use serde_json::json;
use simulator::Request;
use uuid::Uuid;

use crate::test_app::{PORTAL_KEY, Store, TestApp, command, folder, notification, partial_refund, with, word};

on_both_stores! {
    what_register_prints,
    what_payment_prints,
    what_order_prints,
    what_deliveries_prints,
    what_replay_prints,
    what_events_prints,
    what_event_prints,
    what_redeliver_prints,
    what_prune_prints,
    what_metrics_there_are,
}

/// Compares a text with the file of this name in `snapshots/`. Times and made-up ids do not count.
#[track_caller]
fn assert_text(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let text: String = with_fixed_times_and_ids(text).lines().map(|line| format!("{}\n", line.trim_end())).collect();
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// The commands one after the other and what each prints, as in a terminal, without log records.
fn transcript(app: &TestApp, commands: &[&[&str]]) -> String {
    let mut transcript = String::new();
    for arguments in commands {
        let output = app.command(arguments);
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let complaints = error.lines().filter(|line| !line.starts_with('{')).map(|line| format!("{line}\n"));
        transcript.push_str(&format!("$ payment-callback {}\n", arguments.join(" ")));
        transcript.extend([out.into_owned()].into_iter().chain(complaints));
        transcript.push_str(&format!("(exit code {})\n\n", output.status.code().expect("an exit code")));
    }
    transcript
}

/// The same text with one time in place of all and with ids that are numbered as they appear. Neither changes the width
/// of a column.
fn with_fixed_times_and_ids(text: &str) -> String {
    let mut ids = BTreeMap::new();
    let mut fixed = |word: &str| {
        if DateTime::parse_from_rfc3339(word).is_ok() {
            assert_eq!(word.len(), 24, "{word} is in milliseconds");
            "2026-01-01T12:00:00.000Z".to_owned()
        } else if let Ok(id) = Uuid::try_parse(word) {
            let number = ids.len() + 1;
            format!("00000000-0000-7000-8000-{:012}", ids.entry(id).or_insert(number))
        } else {
            word.to_owned()
        }
    };
    let lines = text.lines().map(|line| line.split(' ').map(&mut fixed).collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Two payments of one order, and callbacks with every kind of outcome that a table shows in its own way.
fn app_with_a_history(store: Store) -> TestApp {
    let app = TestApp::open(store);
    app.expect_payment("p-1", "order-1");
    app.expect_payment("p-2", "order-1");
    let paid = with(
        notification("p-1", "order-1", "completed"),
        json!({ "metadata": { "providerTransactionId": "transaction-1" } }),
    );
    app.callback(&notification("p-1", "order-1", "processing"));
    app.callback(&paid);
    app.callback(&paid);
    app.callback(&partial_refund("p-1", "order-1", "2025-01-06T12:00:00Z"));
    app.callback(&notification("p-1", "order-1", "failed"));
    app.callback(&notification("p-2", "order-1", "completed"));
    app.callback(&notification("p-2", "another-order", "completed"));
    app.callback(&notification("p-3", "order-3", "completed"));
    app.callback(&json!({ "paymentId": "p-1", "status": "paid" }));
    app
}

fn what_register_prints(store: Store) {
    let app = TestApp::open(store);
    app.callback(&notification("p-1", "order-1", "completed"));
    let price = ["--amount", "29", "--currency", "eur", "--method"];
    let first = [&["register", "--payment-id", "p-1", "--order-id", "order-1"], &price[..], &["webpay"]].concat();
    let by_invoice = [
        &["register", "--payment-id", "p-2", "--order-id", "order-2"],
        &price[..],
        &["invoice", "--invoice-number", "2026-17", "--redirect-url", "https://portal.example/thanks"],
    ]
    .concat();
    let conflict = [&["register", "--payment-id", "p-1", "--order-id", "order-3"], &price[..], &["webpay"]].concat();
    assert_text("register", &transcript(&app, &[&first, &first, &by_invoice, &conflict]));
}

fn what_payment_prints(store: Store) {
    let app = app_with_a_history(store);
    assert_text("payment", &transcript(&app, &[&["payment", "p-1"], &["payment", "p-3"]]));
}

fn what_order_prints(store: Store) {
    let app = app_with_a_history(store);
    assert_text("order", &transcript(&app, &[&["order", "order-1"], &["order", "order-3"]]));
}

fn what_deliveries_prints(store: Store) {
    let app = app_with_a_history(store);
    assert_text("deliveries", &transcript(&app, &[&["deliveries"], &["deliveries", "--payment", "unknown"]]));
}

fn what_replay_prints(store: Store) {
    let app = TestApp::open(store);
    app.callback(&notification("p-1", "order-1", "completed"));
    let parked = word(&app.deliveries("")[0]["deliveryId"]);
    let before = transcript(&app, &[&["replay", &parked]]);
    app.expect_payment("p-1", "order-1");
    let after = transcript(&app, &[&["replay", &parked, "--dry-run"], &["replay", &parked]]);
    assert_text("replay", &(before + &after));
}

/// One event in each state.
fn app_with_events(store: Store) -> (TestApp, Vec<String>) {
    let app = TestApp::open(store);
    app.expect_payment("p-1", "order-1");
    for status in ["failed", "completed", "refunded"] {
        app.callback(&notification("p-1", "order-1", status));
    }
    let ids: Vec<_> = app.events("").iter().map(|event| word(&event["eventId"])).collect();
    app.store.end_event(&ids[2], "delivered");
    app.store.end_event(&ids[1], "dead");
    (app, ids)
}

fn what_events_prints(store: Store) {
    let (app, _) = app_with_events(store);
    assert_text("events", &transcript(&app, &[&["events"], &["events", "--order", "unknown"]]));
}

fn what_event_prints(store: Store) {
    let (app, ids) = app_with_events(store);
    let unknown = "00000000-0000-7000-8000-000000000000";
    let commands = [["event", &ids[0]], ["event", &ids[1]], ["event", &ids[2]], ["event", unknown]];
    assert_text("event", &transcript(&app, &commands.each_ref().map(|arguments| &arguments[..])));
}

fn what_redeliver_prints(store: Store) {
    let (app, ids) = app_with_events(store);
    let dead = ["redeliver", "--state", "dead"];
    let tried = [&dead[..], &["--dry-run"]].concat();
    assert_text("redeliver", &transcript(&app, &[&tried, &dead, &dead, &["redeliver", &ids[2]], &["redeliver"]]));
}

fn what_prune_prints(store: Store) {
    let app = app_with_a_history(store);
    assert_text("prune", &transcript(&app, &[&["prune", "--older-than", "90d"], &["prune", "--older-than", "1h"]]));
}

fn what_metrics_there_are(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p-1", "order-1");
    app.callback(&notification("p-1", "order-1", "completed"));
    app.get(PORTAL_KEY, "/api/orders/order-1");
    let metrics = String::from_utf8(app.send(&Request::get("/metrics")).body).expect("UTF-8");
    let without_value = |line: &str| match line.rsplit_once(' ') {
        Some((series, _value)) if !line.starts_with('#') => series.to_owned(),
        _ => line.to_owned(),
    };
    // The version and the commit.
    let without_build = |line: String| match line.split_once("build_info{") {
        Some((name, labels)) => {
            let names = labels.trim_end_matches('}').split(',').filter_map(|label| label.split('=').next());
            let labels = names.map(|name| format!("{name}=\"…\"")).collect::<Vec<_>>().join(",");
            format!("{name}build_info{{{labels}}}")
        }
        None => line,
    };
    let lines: Vec<_> = metrics.lines().map(without_value).map(without_build).collect();
    assert_text("metrics", &lines.join("\n"));
}

#[test]
fn the_help_of_the_program_and_of_each_command() {
    let folder = folder();
    let help = |arguments: &[&str]| {
        let output = command(&folder, &[arguments, &["--help"]].concat(), &[]);
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{arguments:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let overview = help(&[]);
    let listed = overview.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = listed.filter_map(|line| line.split_whitespace().next()).collect();
    let commands: Vec<&str> = commands.into_iter().filter(|command| *command != "help").collect();

    assert_text("help", &overview);
    for command in &commands {
        assert_text(&format!("help-{command}"), &help(&[command]));
    }
    let snapshots = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/acceptance/snapshots"));
    let files =
        snapshots.expect("a folder").map(|file| file.expect("a file").file_name().into_string().expect("UTF-8"));
    let of_help = files.filter_map(|file| Some(file.strip_prefix("help-")?.strip_suffix(".snap")?.to_owned()));
    assert_eq!(of_help.collect::<BTreeSet<_>>(), commands.iter().map(|command| (*command).to_owned()).collect());
}
