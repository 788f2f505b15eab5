//! Removing old records from the shell (contract §1).

use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::commands::{assert_refused, document, logged, printed};
use crate::test_app::{PROGRAM, Store, TestApp, assert_settled, command, folder, notification, word};

on_both_stores! {
    what_is_settled_told_and_old_is_removed_and_the_rest_stays,
    a_dry_run_shows_what_would_be_removed_and_changes_nothing,
    what_is_younger_than_it_may_be_stays,
    what_was_removed_is_logged_on_stderr,
    a_duration_that_is_none_is_refused,
    a_removal_that_was_killed_goes_on_when_it_is_run_again_while_callbacks_are_settled,
}

fn prune(app: &TestApp, arguments: &[&str]) -> Output {
    app.command(&[&["prune", "--older-than", "90d"], arguments].concat())
}

/// The figures of a document.
fn figures(document: &Value) -> [i64; 4] {
    let figure = |part: &str, of: &str| document[part][of].as_i64().expect("a number");
    [
        figure("removed", "deliveries"),
        figure("removed", "events"),
        figure("needed", "deliveries"),
        figure("needed", "events"),
    ]
}

fn count(store: &Store, table: &str) -> usize {
    let count = store.texts(&format!("SELECT CAST(count(*) AS text) AS text FROM {table}"));
    count[0].parse().expect("a number")
}

/// Lets everything that has happened be years ago.
fn grow_old(store: &Store) {
    let (begin, end, unconstrained) = match store {
        Store::Sqlite(_) => ("'00000000-0000'", "", "PRAGMA foreign_keys = OFF;"),
        Store::Postgres(_) => ("('00000000-0000'", ")::uuid", "SET session_replication_role = replica;"),
    };
    let old = |id: &str| format!("{id} = {begin} || substr(CAST({id} AS text), 14){end}");
    store.execute(&format!(
        "{unconstrained} UPDATE deliveries SET {delivery}, received_at = '2020-01-01 12:00:00+00:00'; \
         UPDATE parked_deliveries SET {delivery}; \
         UPDATE events SET {event}, created_at = '2020-01-01 12:00:00+00:00'; \
         UPDATE event_attempts SET {event}",
        delivery = old("delivery_id"),
        event = old("event_id"),
    ));
}

/// Lets the portal have been told of everything, after one attempt each.
fn tell_the_portal(store: &Store) {
    store.execute(
        "INSERT INTO event_attempts (event_id, attempted_at, duration_ms, status) \
         SELECT event_id, created_at, 5, 204 FROM events WHERE delivered_at IS NULL; \
         UPDATE events SET delivered_at = created_at; DELETE FROM event_queues",
    );
}

/// Old records of orders that are done and of one of each kind that is not.
fn app_with_old_records(store: Store) -> TestApp {
    let app = TestApp::open(store);
    for payment in ["paid", "second", "open"] {
        app.expect_payment(payment, if payment == "second" { "doubly" } else { payment });
    }
    app.expect_payment("first", "doubly");
    app.expect_payment("untold", "untold");
    for (payment, order, status) in [
        ("paid", "paid", "completed"),
        ("paid", "paid", "completed"),
        ("first", "doubly", "completed"),
        ("second", "doubly", "completed"),
        ("open", "open", "processing"),
        ("early", "early", "completed"),
    ] {
        app.callback(&notification(payment, order, status));
    }
    app.callback(&json!({ "paymentId": "unknown" }));
    tell_the_portal(&app.store);
    app.callback(&notification("untold", "untold", "failed"));
    grow_old(&app.store);
    app
}

/// Of these: both entries of the paid order and the invalid one, with one event.
const REMOVED: [i64; 4] = [3, 1, 5, 3];

fn what_is_settled_told_and_old_is_removed_and_the_rest_stays(store: Store) {
    let app = app_with_old_records(store);
    let (payment, order) = (app.payment("paid")["payment"].clone(), app.order("paid"));
    let printed = document(&prune(&app, &["--json"]));
    assert_eq!((figures(&printed), &printed["dryRun"]), (REMOVED, &json!(false)));
    let left: Vec<_> = app.deliveries("").iter().map(|entry| word(&entry["outcome"])).collect();
    assert_eq!(left.len(), 5, "{left:?}");
    for outcome in ["completed", "unapplied", "processing", "parked", "failed"] {
        assert!(left.contains(&outcome.to_owned()), "{left:?}");
    }
    assert_eq!((count(&app.store, "events"), count(&app.store, "event_attempts")), (3, 2));
    // The payment and the order are as before, and so is what is decided by them.
    assert_eq!((&app.payment("paid")["payment"], app.order("paid")), (&payment, order));
    assert_settled(&app.callback(&notification("paid", "paid", "completed")), "duplicate");
    app.expect_payment("early", "early");
    app.assert_order("early", "paid", Some("early"));
    assert_eq!(figures(&document(&prune(&app, &["--json"]))), [0, 0, 5, 3]);
}

fn a_dry_run_shows_what_would_be_removed_and_changes_nothing(store: Store) {
    let app = app_with_old_records(store);
    let before = app.deliveries("");
    let tried = document(&prune(&app, &["--dry-run", "--json"]));
    assert_eq!((figures(&tried), &tried["dryRun"]), (REMOVED, &json!(true)));
    assert!(printed(&prune(&app, &["--dry-run"]), 0).contains("WOULD BE REMOVED"));
    assert_eq!((app.deliveries(""), count(&app.store, "events")), (before, 4));
    assert_eq!(figures(&document(&prune(&app, &["--json"]))), REMOVED);
}

fn what_is_younger_than_it_may_be_stays(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    app.callback(&notification("p", "o", "completed"));
    tell_the_portal(&app.store);
    for age in ["1d", "24h"] {
        let pruned = app.command(&["prune", "--older-than", age, "--json"]);
        assert_eq!(figures(&document(&pruned)), [0, 0, 0, 0], "{age}");
    }
    assert_eq!(app.outcomes("p"), ["completed"]);
}

fn what_was_removed_is_logged_on_stderr(store: Store) {
    let app = app_with_old_records(store);
    let messages = |output: &Output| logged(output).into_iter().map(|(message, _)| message).collect::<Vec<_>>();
    assert_eq!(messages(&prune(&app, &["--dry-run"])), ["prune tried; nothing changed"]);
    let pruned = prune(&app, &[]);
    assert_eq!(messages(&pruned), ["old records removed"]);
    let record: Value = serde_json::from_slice(&pruned.stderr).expect("a record");
    assert_eq!((&record["deliveries_removed"], &record["events_needed"]), (&json!(3), &json!(3)));
}

fn a_duration_that_is_none_is_refused(store: Store) {
    let environment = [("DATABASE_URL", &*store.url())];
    let prune = |arguments: &[&str]| command(&folder(), &[&["prune"], arguments].concat(), &environment);
    for age in ["", "90", "0d", "23h", "90m", "-90d", "36501d"] {
        assert_refused(&prune(&[&format!("--older-than={age}")]), 2, "PRUNE_OLDER_THAN (--older-than)");
    }
    assert_refused(&prune(&[]), 2, "--older-than");
    assert_refused(&prune(&["--older-than", "90d"]), 1, "payment-callback migrate");
}

/// Starts a removal that goes on meanwhile.
fn start(store: &Store) -> Child {
    let mut prune = Command::new(PROGRAM);
    prune.args(["prune", "--older-than", "90d"]).env_clear().env("DATABASE_URL", store.url());
    let folder = folder();
    prune.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a program that runs")
}

fn a_removal_that_was_killed_goes_on_when_it_is_run_again_while_callbacks_are_settled(store: Store) {
    const OLD: usize = 20_000;
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    add_old_records(&app.store, OLD);
    let mut sent = 0;
    let mut settle = || {
        let outcome = if sent == 0 { "completed" } else { "duplicate" };
        assert_settled(&app.callback(&notification("p", "o", "completed")), outcome);
        sent += 1;
        sent
    };
    settle();
    tell_the_portal(&app.store);

    let (mut removal, begun) = (start(&app.store), Instant::now());
    while count(&app.store, "deliveries") + 2_000 > OLD + settle() {
        assert!(begun.elapsed() < Duration::from_secs(30), "something is removed");
    }
    removal.kill().expect("a process that can be killed");
    removal.wait().expect("a process that ended");
    let left = count(&app.store, "deliveries");
    assert!(left > settle(), "it was killed before it was through");
    // An event is there with its attempts, or neither is.
    assert_eq!(count(&app.store, "events"), count(&app.store, "event_attempts"));

    let mut removal = start(&app.store);
    let ended = loop {
        settle();
        match removal.try_wait().expect("a process") {
            Some(ended) => break ended,
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    assert!(ended.success(), "{ended}");
    assert_eq!((count(&app.store, "deliveries"), count(&app.store, "events")), (settle() - 1, 1));
}

/// Adds so many old repetitions of the payment's notification, and an event for each.
fn add_old_records(store: &Store, number: usize) {
    let (numbers, id) = store.numbered_ids(number);
    let long_ago = "'2020-01-01 12:00:00+00:00'";
    let of_payment = "FROM numbers, external_payments WHERE payment_id = 'p'";
    store.execute(&format!(
        "{numbers} INSERT INTO deliveries (delivery_id, received_at, source, payment_key, payment_id, order_id, outcome) \
            SELECT {id}, {long_ago}, 'callback', payment_key, 'p', 'o', 'duplicate' {of_payment}; \
         {numbers} INSERT INTO events (event_id, kind, order_key, payment_key, created_at) \
            SELECT {id}, 'payment.partially_refunded', order_key, payment_key, {long_ago} {of_payment}"
    ));
}
