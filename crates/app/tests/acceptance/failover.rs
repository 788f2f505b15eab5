//! A primary stands still, and a standby takes its place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use simulator::Request;

use crate::servers::Server;
use crate::test_app::{
    Watched, assert_problem, callback, command, folder, notification, register, registration, serve,
};

/// How soon callbacks are settled after a promotion.
const AGAIN_WITHIN: Duration = Duration::from_secs(5);

/// Longer than anything takes that happens at all.
const AT_LAST: Duration = Duration::from_secs(30);

#[track_caller]
fn wait_until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < AT_LAST);
        thread::sleep(Duration::from_millis(50));
    }
}

fn expect_payment(service: &Watched, payment: &str, order: &str) {
    assert_eq!(service.exchange(&register(&registration(payment, order))).expect("an answer").status, 201);
}

fn status(service: &Watched, request: &Request) -> u16 {
    service.exchange(request).expect("an answer").status
}

#[test]
fn a_primary_that_stands_still_is_left_for_the_standby_that_was_promoted() {
    const SENDERS: usize = 4;
    let primary = Server::start();
    let standby = primary.standby();
    let url = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres", primary.port, standby.port);
    let service = serve(&url, &[]);
    for sender in 0..SENDERS {
        expect_payment(&service, &format!("p{sender}"), &format!("o{sender}"));
    }
    wait_until(|| standby.holds(&format!("(SELECT count(*) FROM external_payments) = {SENDERS}")));
    let (frozen, promoted) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (service, frozen, promoted) = (&service, &frozen, &promoted);
            scope.spawn(move || {
                let request = callback(&notification(&format!("p{sender}"), &format!("o{sender}"), "processing"));
                while !promoted.load(Ordering::Relaxed) {
                    let answered = status(service, &request);
                    assert!(answered == 200 || frozen.load(Ordering::Relaxed), "{answered}");
                }
                let since = Instant::now();
                while status(service, &request) != 200 {
                    assert!(since.elapsed() < AGAIN_WITHIN, "{:#?}", service.lines());
                    thread::sleep(Duration::from_millis(50));
                }
                assert!(since.elapsed() < AGAIN_WITHIN, "{:?}", since.elapsed());
            });
        }
        thread::sleep(Duration::from_secs(1));
        frozen.store(true, Ordering::Relaxed);
        primary.freeze();
        standby.promote();
        promoted.store(true, Ordering::Relaxed);
    });
    wait_until(|| status(&service, &Request::get("/readyz")) == 200);
}

#[test]
fn nothing_is_said_to_be_settled_while_commits_wait_for_a_standby_that_is_gone() {
    let primary = Server::start();
    let service = serve(&primary.url(), &[("RESPONSE_DEADLINE_MS", "1500")]);
    for index in 0..6 {
        expect_payment(&service, &format!("p{index}"), &format!("o{index}"));
    }
    let ready = || status(&service, &Request::get("/readyz")) == 200;
    wait_until(ready);
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'; SELECT pg_reload_conf()");
    wait_until(|| !ready());
    for index in 0..6 {
        let request = callback(&notification(&format!("p{index}"), &format!("o{index}"), "completed"));
        assert_problem(&service.exchange(&request).expect("an answer"), 503, "unavailable");
    }
    assert!(!ready());
    // What was given up does not take up the server's connections.
    assert!(primary.holds("(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep') <= 4"));
    primary.execute("ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()");
    wait_until(ready);
    for index in 0..6 {
        let request = callback(&notification(&format!("p{index}"), &format!("o{index}"), "completed"));
        wait_until(|| status(&service, &request) == 200);
    }
    assert!(primary.holds("(SELECT count(*) FROM events WHERE kind = 'order.paid') = 6"));
}

#[test]
fn a_hot_standby_can_be_read_and_is_waited_for_to_be_written_to() {
    let primary = Server::start();
    let standby = primary.standby();
    let service = serve(&primary.url(), &[]);
    expect_payment(&service, "p", "o");
    assert_eq!(status(&service, &callback(&notification("p", "o", "completed"))), 200);
    wait_until(|| standby.holds("EXISTS (SELECT 1 FROM external_payments WHERE status = 'completed')"));
    let url = standby.url();
    let run = |arguments: &[&str]| command(&folder(), arguments, &[("DATABASE_URL", &url)]);
    for arguments in [&["payment", "p"][..], &["order", "o"], &["deliveries"]] {
        let ended = run(arguments);
        assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    }
    let any_session = format!("{url}?target_session_attrs=any");
    for url in [&url, &any_session] {
        let environment = [("DATABASE_URL", &**url), ("DATABASE_WAIT_S", "2"), ("PAYMENT_API_KEY", "k")];
        let begun = Instant::now();
        let ended = command(&folder(), &["serve"], &environment);
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(begun.elapsed() >= Duration::from_secs(2), "it waits for it to be promoted");
        assert!(String::from_utf8_lossy(&ended.stderr).contains("read-only"), "{ended:?}");
    }
    thread::scope(|scope| {
        let starting = scope.spawn(|| serve(&any_session, &[]));
        thread::sleep(Duration::from_secs(1));
        assert!(!starting.is_finished());
        standby.promote();
        assert_eq!(status(&starting.join().expect("a service that listens"), &Request::get("/readyz")), 200);
    });
}
