//! `/readyz` says whether a callback could be settled now (contract §6).

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use simulator::{Request, Response};

use crate::test_app::{Store, TestApp, assert_problem, callback, notification, word};

on_both_stores! {
    pending_migrations_are_noticed,
    tables_of_a_newer_version_are_noticed,
}

fn ready(app: &TestApp) -> Response {
    app.send(&Request::get("/readyz"))
}

/// Answers are shared for a while.
#[track_caller]
fn wait_until_it_is(app: &TestApp, status: u16) -> Response {
    let begun = Instant::now();
    loop {
        let answer = ready(app);
        if answer.status == status {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", answer.json());
        thread::sleep(Duration::from_millis(100));
    }
}

fn assert_not_ready(app: &TestApp) -> Value {
    assert_problem(&wait_until_it_is(app, 503), 503, "unavailable")
}

fn pending_migrations_are_noticed(store: Store) {
    let app = TestApp::open(store);
    app.store.execute("DELETE FROM __diesel_schema_migrations");
    let problem = assert_not_ready(&app);
    assert!(word(&problem["detail"]).contains("pending migrations"), "{problem}");
    assert_eq!(app.send(&Request::get("/healthz")).status, 200);
}

fn tables_of_a_newer_version_are_noticed(store: Store) {
    let app = TestApp::open(store);
    assert_eq!(ready(&app).status, 200);
    app.store.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000000')");
    let problem = assert_not_ready(&app);
    assert!(word(&problem["detail"]).contains("newer"), "{problem}");
    for arguments in [&["payment", "p"][..], &["migrate"]] {
        let ended = app.command(arguments);
        let error = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{error}");
        assert!(error.contains("newer"), "{error}");
    }
}

#[test]
fn a_locked_table_is_noticed() {
    let app = TestApp::with(Store::postgres(), &[("RESPONSE_DEADLINE_MS", "1000")]);
    assert_eq!(ready(&app).status, 200);
    let held = app.store.hold();
    assert_not_ready(&app);
    drop(held);
    wait_until_it_is(&app, 200);
}

/// PostgreSQL refuses what goes beyond this limit as it refuses what a full disk cannot hold.
#[test]
fn a_disk_that_takes_no_more_is_noticed() {
    let app = TestApp::open(Store::postgres());
    assert_eq!(ready(&app).status, 200);
    let Store::Postgres(database) = &app.store else { unreachable!() };
    database.execute(&format!("ALTER DATABASE {} SET temp_file_limit = 0", database.name()));
    database.end_other_sessions();
    assert_not_ready(&app);
    database.execute(&format!("ALTER DATABASE {} RESET temp_file_limit", database.name()));
    wait_until_it_is(&app, 200);
}

#[test]
fn a_session_that_is_of_no_use_any_more_is_replaced() {
    let app = TestApp::open(Store::postgres());
    for index in 0..8 {
        app.expect_payment(&format!("p{index}"), &format!("o{index}"));
        assert_eq!(app.callback(&notification(&format!("p{index}"), &format!("o{index}"), "processing")).status, 200);
    }
    // The plans that sessions have prepared yield another type now.
    app.store.execute("ALTER TABLE orders ALTER COLUMN currency TYPE VARCHAR(9)");
    for index in 0..8 {
        let request = callback(&notification(&format!("p{index}"), &format!("o{index}"), "completed"));
        let refused = (0..3).take_while(|_| app.send(&request).status != 200).count();
        assert!(refused <= 2, "each committer may find out once");
    }
}
