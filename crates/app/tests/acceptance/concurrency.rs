//! Much at once.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;

use simulator::Request;

use crate::test_app::{Store, TestApp, Watched, callback, notification, partial_refund, register, registration};

on_both_stores! {
    of_64_identical_completions_at_once_one_counts,
    of_64_identical_completions_on_two_processes_one_counts,
    what_is_said_at_once_in_any_order_pays_each_order_once,
    a_notification_that_races_its_registration_is_never_lost,
    the_trail_reads_in_the_order_of_the_decisions,
}

/// Sends each request over a connection of its own, all at once, and counts the outcomes.
fn all_at_once(requests: &[(&Watched, Request)]) -> BTreeMap<String, usize> {
    let start = Barrier::new(requests.len());
    let outcomes: Vec<String> = thread::scope(|scope| {
        let senders: Vec<_> = requests
            .iter()
            .map(|(service, request)| {
                let mut connection = service.connect().expect("a connection");
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let answer = connection.exchange(request).expect("an answer");
                    let document = answer.json();
                    let word = if answer.status == 200 { &document["outcome"] } else { &document["code"] };
                    word.as_str().unwrap_or_default().to_owned()
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().expect("no panic")).collect()
    });
    let mut counts = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(outcome).or_default() += 1;
    }
    counts
}

fn counts(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|(outcome, count)| ((*outcome).to_owned(), *count)).collect()
}

fn of_64_identical_completions_at_once_one_counts(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    let completed = callback(&notification("p", "o", "completed"));
    let requests: Vec<_> = (0..64).map(|_| (&app.service, completed.clone())).collect();
    assert_eq!(all_at_once(&requests), counts(&[("completed", 1), ("duplicate", 63)]));
    assert_eq!(app.outcomes("p")[0], "completed", "the trail begins with what was decided first");
    app.assert_order("o", "paid", Some("p"));
    assert_eq!(app.store.events(), ["order.paid"]);
    assert_eq!(app.deliveries("?limit=500").len(), 64);
}

fn of_64_identical_completions_on_two_processes_one_counts(store: Store) {
    let app = TestApp::open(store);
    let other = app.another();
    app.expect_payment("p", "o");
    let completed = callback(&notification("p", "o", "completed"));
    let replicas = [&app.service, &other];
    let requests: Vec<_> = (0..64).map(|index| (replicas[index % 2], completed.clone())).collect();
    assert_eq!(all_at_once(&requests), counts(&[("completed", 1), ("duplicate", 63)]));
    assert_eq!(app.outcomes("p")[0], "completed", "the trail begins with what was decided first");
    app.assert_order("o", "paid", Some("p"));
    assert_eq!(app.store.events(), ["order.paid"]);
    assert_eq!(app.deliveries("?limit=500").len(), 64);
}

fn what_is_said_at_once_in_any_order_pays_each_order_once(store: Store) {
    let app = TestApp::open(store);
    let other = app.another();
    let replicas = [&app.service, &other];
    // Each order has two payments, and each of them is completed, failed and refunded in part.
    for order in ["o1", "o2", "o3"] {
        for payment in ["a", "b"] {
            app.expect_payment(&format!("{order}{payment}"), order);
        }
    }
    let mut requests = Vec::new();
    for order in ["o1", "o2", "o3"] {
        for (index, payment) in ["a", "b", "a", "b"].into_iter().enumerate() {
            let payment = format!("{order}{payment}");
            for body in [
                notification(&payment, order, "completed"),
                notification(&payment, order, "failed"),
                partial_refund(&payment, order, "2025-01-06T12:00:00Z"),
            ] {
                requests.push((replicas[index / 2], callback(&body)));
            }
        }
    }
    let answered = all_at_once(&requests);
    assert_eq!(answered.values().sum::<usize>(), 36);
    assert!(answered.keys().all(|outcome| outcome != "unavailable" && outcome != "processing_error"), "{answered:?}");
    let paid = app.store.events().into_iter().filter(|kind| kind == "order.paid").count();
    assert_eq!(paid, 3);
    for order in ["o1", "o2", "o3"] {
        let history = app.order(order);
        assert_eq!(history["order"]["status"], "paid");
        let payments = history["payments"].as_array().expect("a list");
        assert!(payments.iter().all(|payment| payment["status"] == "completed"), "{history}");
    }
}

fn a_notification_that_races_its_registration_is_never_lost(store: Store) {
    const PAYMENTS: usize = 48;
    let app = TestApp::open(store);
    let other = app.another();
    // Four at a time: each payment is registered at one process and reported at the other.
    for first in (0..PAYMENTS).step_by(4) {
        let mut requests = Vec::new();
        for index in first..first + 4 {
            let (payment, order) = (format!("p{index}"), format!("o{index}"));
            requests.push((&app.service, register(&registration(&payment, &order))));
            requests.push((&other, callback(&notification(&payment, &order, "completed"))));
        }
        assert_eq!(all_at_once(&requests).values().sum::<usize>(), 8);
    }
    for index in 0..PAYMENTS {
        app.assert_order(&format!("o{index}"), "paid", Some(&format!("p{index}")));
    }
    let paid = app.store.events().into_iter().filter(|kind| kind == "order.paid").count();
    assert_eq!(paid, PAYMENTS);
}

fn the_trail_reads_in_the_order_of_the_decisions(store: Store) {
    const PAYMENTS: usize = 20;
    let app = TestApp::open(store);
    for index in 0..PAYMENTS {
        let (payment, order) = (format!("p{index}"), format!("o{index}"));
        app.expect_payment(&payment, &order);
        let completed = callback(&notification(&payment, &order, "completed"));
        let requests: Vec<_> = (0..3).map(|_| (&app.service, completed.clone())).collect();
        assert_eq!(all_at_once(&requests), counts(&[("completed", 1), ("duplicate", 2)]));
        assert_eq!(app.outcomes(&payment), ["completed", "duplicate", "duplicate"]);
    }
}
