//! The audit trail, newest first.

use std::sync::Arc;

use chrono::TimeDelta;
use domain::{Delivery, DeliveryId, Outcome, OutcomeKind, Payload, Source};
use ports::{DeliveryFilter, HISTORY_MAX, Store};

use crate::fixtures::{
    any, at, at_micros, completion, deliveries, note_invalid, order_id, payment, payment_id, provenance, register,
    registration, settle_as,
};

/// Seven entries, oldest first: of two registered payments and an unknown one, some of one millisecond.
fn seven_entries(ledger: &Arc<dyn Store>) -> Vec<Delivery> {
    for id in ["p", "q"] {
        register(ledger, &registration(id, "o"), 0);
    }
    let said =
        [("p", "o"), ("q", "o"), ("unknown", "o"), ("p", "another"), ("p", "o"), ("unknown", "another"), ("q", "o")];
    let times = [1_000_000, 2_000_000, 3_000_000, 3_000_001, 3_000_999, 4_000_000, 5_000_000];
    let settle = |((payment, order), micros)| {
        let received = (completion(payment, order), provenance(at_micros(micros)));
        settle_as(ledger, &[received]).expect("a ledger that settles").remove(0).delivery
    };
    said.into_iter().zip(times).map(settle).collect()
}

pub fn entries_are_found_by_any_combination_of_filters(ledger: &Arc<dyn Store>) {
    let mut entries = seven_entries(ledger);
    let invalid = Payload { status: None, ..completion("p", "o").into() };
    entries.push(note_invalid(ledger, &invalid, "status: is missing", &provenance(at(7))));
    let ids = |text: &[&str]| text.iter().map(|text| Some(payment_id(text))).chain([None]).collect::<Vec<_>>();
    let orders = [None, Some(order_id("o")), Some(order_id("another")), Some(order_id("none"))];
    let kinds = [OutcomeKind::Parked, OutcomeKind::Duplicate, OutcomeKind::Rejected, OutcomeKind::Invalid];
    let outcomes = kinds.into_iter().map(Some).chain([None]).collect::<Vec<_>>();
    let sinces = [None, Some(at(2)), Some(at_micros(3_000_001)), Some(at(6))];
    let befores = [None, Some(entries[6].provenance.delivery_id), Some(entries[3].provenance.delivery_id)];
    for payment in ids(&["p", "unknown", "none"]) {
        for order in &orders {
            for &outcome in &outcomes {
                for since in sinces {
                    for before in befores {
                        let (payment, order) = (payment.clone(), order.clone());
                        let filter = DeliveryFilter { payment, order, outcome, since, before, limit: 100 };
                        assert_eq!(deliveries(ledger, &filter), model(&entries, &filter), "{filter:?}");
                    }
                }
            }
        }
    }
}

fn model(entries: &[Delivery], filter: &DeliveryFilter) -> Vec<Delivery> {
    let DeliveryFilter { payment, order, outcome, since, before, limit: _ } = filter;
    let mut found = entries.to_vec();
    found.retain(|entry| payment.is_none() || entry.content.payment_id() == payment.as_ref());
    found.retain(|entry| order.is_none() || entry.content.order_id() == order.as_ref());
    found.retain(|entry| outcome.is_none_or(|outcome| entry.outcome.kind() == outcome));
    found.retain(|entry| since.is_none_or(|since| entry.provenance.received_at >= since));
    found.retain(|entry| before.is_none_or(|before| entry.provenance.delivery_id < before));
    found.reverse();
    found
}

pub fn pages_follow_each_other_without_gap_or_overlap(ledger: &Arc<dyn Store>) {
    let mut entries = seven_entries(ledger);
    entries.reverse();
    let mut before: Option<DeliveryId> = None;
    for page in [&entries[0..3], &entries[3..6], &entries[6..7], &[]] {
        assert_eq!(deliveries(ledger, &DeliveryFilter { before, limit: 3, ..any() }), page);
        before = page.last().map(|entry| entry.provenance.delivery_id).or(before);
    }
}

pub fn since_means_the_microsecond_of_receipt(ledger: &Arc<dyn Store>) {
    let entries = seven_entries(ledger);
    let received_at = entries[4].provenance.received_at;
    let newest = |since| deliveries(ledger, &DeliveryFilter { since: Some(since), ..any() }).len();
    assert_eq!((newest(received_at), newest(received_at + TimeDelta::microseconds(1))), (3, 2));
}

pub fn a_payment_shows_the_newest_of_a_long_history(ledger: &Arc<dyn Store>) {
    register(ledger, &registration("p", "o"), 0);
    let beyond = 7;
    let most = usize::try_from(HISTORY_MAX).expect("a size");
    let received: Vec<_> = (0..most + beyond).map(|_| (completion("p", "o"), provenance(at(1)))).collect();
    let settled = settle_as(ledger, &received).expect("a ledger that settles");
    let mut newest: Vec<_> = settled.into_iter().skip(beyond).map(|each| each.delivery).collect();
    newest.reverse();
    let history = payment(ledger, "p");
    assert_eq!(history.deliveries, newest);
    let older = DeliveryFilter { payment: Some(payment_id("p")), before: history.next, ..any() };
    assert_eq!((history.next.is_some(), deliveries(ledger, &older).len()), (true, beyond), "the others follow");
    assert!(newest.iter().all(|entry| entry.outcome == Outcome::Duplicate));
}

pub fn pages_of_a_payment_begin_before_it_was_registered(ledger: &Arc<dyn Store>) {
    let settle = |seconds| {
        let received = (completion("p", "o"), provenance(at(seconds)));
        settle_as(ledger, &[received]).expect("a ledger that settles").remove(0).delivery
    };
    let invalid = Payload { status: None, ..completion("p", "o").into() };
    let note = |seconds| note_invalid(ledger, &invalid, "status: is missing", &provenance(at(seconds)));
    let before = [settle(1), note(2), settle(3)];
    register(ledger, &registration("p", "o"), 4);
    let after = [settle(5), note(6), settle(7)];
    let mut applied = deliveries(ledger, &any());
    applied.retain(|entry| entry.provenance.source == Source::Parked);
    assert_eq!(applied.len(), 1);

    let mut trail: Vec<Delivery> = before.into_iter().chain(after).chain(applied).collect();
    trail.sort_by_key(|entry| std::cmp::Reverse(entry.provenance.delivery_id));
    let mut last: Option<DeliveryId> = None;
    for page in trail.chunks(3) {
        let filter = DeliveryFilter { payment: Some(payment_id("p")), before: last, limit: 3, ..any() };
        assert_eq!(deliveries(ledger, &filter), page);
        last = page.last().map(|entry| entry.provenance.delivery_id);
    }
    assert_eq!(payment(ledger, "p").deliveries, trail);
}
