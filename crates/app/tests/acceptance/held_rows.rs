//! Rows that another session has locked, a console for example, delay what needs them and nothing else.

use std::thread;
use std::time::{Duration, Instant};

use diesel::PgConnection;
use diesel::connection::SimpleConnection as _;
use simulator::Response;

use crate::test_app::{Store, TestApp, assert_problem, assert_settled, callback, notification, partial_refund};

const HELD: usize = 40;
const SENDERS: usize = 8;
const EACH: usize = 100;
const DEADLINE: (&str, &str) = ("RESPONSE_DEADLINE_MS", "2000");

/// Longer than any answer may take that has to come by a deadline of two seconds.
const BY_THE_DEADLINE: Duration = Duration::from_secs(6);

const PAYMENTS: &str = "SELECT FROM external_payments WHERE payment_id LIKE 'held%' FOR UPDATE";
const ORDERS: &str = "SELECT FROM orders WHERE order_id LIKE 'held%' FOR UPDATE";

/// The service with payments whose rows will be held, and others that are completed.
fn open() -> TestApp {
    let app = TestApp::with(Store::postgres(), &[DEADLINE]);
    for index in 0..HELD {
        app.expect_payment(&format!("held{index}"), &format!("held{index}"));
    }
    for sender in 0..SENDERS {
        app.expect_payment(&format!("p{sender}"), &format!("o{sender}"));
        assert_settled(
            &app.callback(&notification(&format!("p{sender}"), &format!("o{sender}"), "completed")),
            "completed",
        );
    }
    app
}

/// Another session that holds what this query locks, until it goes.
fn hold(app: &TestApp, query: &str) -> PgConnection {
    let Store::Postgres(database) = &app.store else { panic!("rows are locked in PostgreSQL alone") };
    let mut connection = database.connect();
    connection.batch_execute(&format!("BEGIN; {query}")).expect("locks");
    connection
}

/// Sends partial refunds of the payments that are free, over several connections; says how long that took.
fn load(app: &TestApp, minute: usize) -> Duration {
    let begun = Instant::now();
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            scope.spawn(move || {
                let mut connection = app.service.connect().expect("a connection");
                for index in 0..EACH {
                    let sent_at = format!("2025-01-06T12:{minute:02}:00.{index:03}Z");
                    let refund = partial_refund(&format!("p{sender}"), &format!("o{sender}"), &sent_at);
                    let answer = connection.exchange(&callback(&refund)).expect("an answer");
                    assert_settled(&answer, "partially_refunded");
                }
            });
        }
    });
    begun.elapsed()
}

/// Completes all payments that are held, each over a connection of its own.
fn complete_held(app: &TestApp) -> Vec<(Response, Duration)> {
    thread::scope(|scope| {
        let complete = |index: usize| {
            let body = notification(&format!("held{index}"), &format!("held{index}"), "completed");
            let mut connection = app.service.connect().expect("a connection");
            let asked = Instant::now();
            (connection.exchange(&callback(&body)).expect("an answer"), asked.elapsed())
        };
        let senders: Vec<_> = (0..HELD).map(|index| scope.spawn(move || complete(index))).collect();
        senders.into_iter().map(|sender| sender.join().expect("no panic")).collect()
    })
}

fn rows_that_are_held_delay_nothing_else(query: &str) {
    let app = open();
    let unhindered = load(&app, 0);
    let held = hold(&app, query);
    thread::scope(|scope| {
        let completing = scope.spawn(|| complete_held(&app));
        thread::sleep(Duration::from_millis(100));
        let hindered = load(&app, 1);
        assert!(hindered < 3 * unhindered + Duration::from_secs(1), "{hindered:?} instead of {unhindered:?}");
        for (answer, took) in completing.join().expect("no panic") {
            assert_problem(&answer, 503, "unavailable");
            assert!(took < BY_THE_DEADLINE, "{took:?}");
        }
    });
    // What was given up was not stored.
    assert!(app.outcomes("held0").is_empty());
    drop(held);
    for (answer, _) in complete_held(&app) {
        assert_settled(&answer, "completed");
    }
}

#[test]
fn payments_that_are_held_delay_nothing_else() {
    rows_that_are_held_delay_nothing_else(PAYMENTS);
}

#[test]
fn orders_that_are_held_delay_nothing_else() {
    rows_that_are_held_delay_nothing_else(ORDERS);
}

#[test]
fn what_is_held_settles_when_it_is_released_in_time() {
    for query in [PAYMENTS, ORDERS] {
        let app = open();
        let held = hold(&app, query);
        thread::scope(|scope| {
            let completing = scope.spawn(|| complete_held(&app));
            thread::sleep(Duration::from_millis(600));
            drop(held);
            for (answer, _) in completing.join().expect("no panic") {
                assert_settled(&answer, "completed");
            }
        });
    }
}
