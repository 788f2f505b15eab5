//! What monitoring sees of a store.

use std::sync::Arc;

use domain::{Outcome, Payload, PaymentStatus, Provenance, Report, Source};
use ports::{LedgerStats, Store};

use crate::fixtures::{
    at, completion, note_invalid, notification, provenance, register, registration, settle, settle_as,
};

fn stats(ledger: &Arc<dyn Store>) -> LedgerStats {
    ledger.stats().expect("a ledger that reads")
}

pub fn there_is_nothing_to_see_of_an_empty_ledger(ledger: &Arc<dyn Store>) {
    assert_eq!(stats(ledger), LedgerStats::default());
}

pub fn a_payment_is_open_until_its_end_is_heard(ledger: &Arc<dyn Store>) {
    for (second, id) in [(2, "a"), (1, "b"), (3, "c"), (4, "d")] {
        register(ledger, &registration(id, id), second);
    }
    let open = || {
        let stats = stats(ledger);
        (stats.open_payments, stats.oldest_open_payment_at)
    };
    assert_eq!(open(), (4, Some(at(1))));
    settle(ledger, &[notification("b", "b", Report::Reached(PaymentStatus::Processing))], 5);
    assert_eq!(open(), (4, Some(at(1))), "somebody works on it, and that has not ended");
    settle(ledger, &[completion("b", "b")], 6);
    assert_eq!(open(), (3, Some(at(2))));
    settle(ledger, &[notification("a", "a", Report::Reached(PaymentStatus::Failed))], 7);
    settle(ledger, &[notification("c", "c", Report::Reached(PaymentStatus::Cancelled))], 7);
    settle(ledger, &[notification("d", "d", Report::Reached(PaymentStatus::Refunded))], 7);
    assert_eq!(open(), (0, None));
}

pub fn a_notification_is_parked_until_its_payment_is_registered(ledger: &Arc<dyn Store>) {
    settle(ledger, &[completion("p", "o")], 2);
    settle(ledger, &[completion("q", "o")], 1);
    let parked = || {
        let stats = stats(ledger);
        (stats.parked_notifications, stats.oldest_parked_notification_at)
    };
    assert_eq!(parked(), (2, Some(at(1))));
    register(ledger, &registration("q", "o"), 3);
    assert_eq!(parked(), (1, Some(at(2))));
    register(ledger, &registration("p", "o"), 3);
    assert_eq!(parked(), (0, None));
}

pub fn money_is_unapplied_until_it_is_refunded(ledger: &Arc<dyn Store>) {
    for id in ["p", "q"] {
        register(ledger, &registration(id, "o"), 0);
        settle(ledger, &[completion(id, "o")], 1);
    }
    assert_eq!(stats(ledger).unapplied_payments, 1);
    settle(ledger, &[completion("q", "o")], 2);
    assert_eq!(stats(ledger).unapplied_payments, 1, "a repetition is not more money");
    settle(ledger, &[notification("q", "o", Report::Reached(PaymentStatus::Refunded))], 3);
    assert_eq!(stats(ledger).unapplied_payments, 0);
}

pub fn the_newest_callback_counts_whatever_came_of_it(ledger: &Arc<dyn Store>) {
    let last = || stats(ledger).last_callback_at;
    assert_eq!(settle(ledger, &[completion("p", "o")], 1), [Outcome::Parked]);
    assert_eq!(last(), Some(at(1)));
    note_invalid(ledger, &Payload::default(), "body: must be JSON", &provenance(at(3)));
    assert_eq!(last(), Some(at(3)));
    register(ledger, &registration("p", "o"), 4);
    let replayed = Provenance { source: Source::Replay, ..provenance(at(5)) };
    settle_as(ledger, &[(completion("p", "o"), replayed)]).expect("a ledger that settles");
    assert_eq!(last(), Some(at(3)), "neither what had been parked nor a replay is heard from the sender");
}
