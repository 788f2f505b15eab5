//! Old records: what is removed, and what must stay.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chrono::TimeDelta;
use domain::{
    DeliveryId, EventAttempt, EventId, EventState, Notification, Outcome, OutcomeKind, Payload, PaymentStatus,
    Provenance, Report, Source,
};
use ports::{
    AttemptResult, AttemptedEvent, DeliveryFilter, EventFilter, QueueProgress, RecordCounts, RecordPosition,
    RemovableRecords, Store,
};
use usecases::Prune;

use crate::fixtures::{
    FixedClock, any, at, cancel, completion, deliveries, note_invalid, notification, order, partial_refund, payment,
    payment_id, provenance, register, registration, settle, settle_as,
};

/// When all that these tests let happen is old.
const OLD: i64 = 100;

fn reached(payment: &str, order: &str, status: PaymentStatus) -> Notification {
    notification(payment, order, Report::Reached(status))
}

/// Registers and completes a payment for an order of the same id.
fn paid_order(store: &Arc<dyn Store>, id: &str) {
    register(store, &registration(id, id), 0);
    settle(store, &[completion(id, id)], 1);
}

/// Lets attempts to send all events that are due have this result.
fn attempt_all(store: &Arc<dyn Store>, result: AttemptResult) {
    let due_in = (result == AttemptResult::Failed).then_some(Duration::from_secs(600));
    for queue in store.claim(1000, Duration::from_secs(600)).expect("a store that claims").queues {
        let attempt = EventAttempt { attempted_at: at(2), duration: Duration::from_secs(1), status: None, error: None };
        let attempted = |id| AttemptedEvent { id, attempt: attempt.clone(), result };
        let attempts = queue.events.iter().map(|pending| attempted(pending.event.id)).collect();
        let progress = QueueProgress { claim: queue.claim, attempts, due_in };
        store.record(&[progress]).expect("a store that records");
    }
}

fn deliver_all(store: &Arc<dyn Store>) {
    attempt_all(store, AttemptResult::Delivered);
}

/// What is removed and what is needed of that which is older than this second.
fn prune_before(store: &Arc<dyn Store>, second: i64, dry_run: bool) -> (RecordCounts, RecordCounts) {
    let prune =
        Prune { retention: Arc::clone(store) as _, clock: Arc::new(FixedClock(at(second))), observer: Arc::new(()) };
    let pruned = prune.run(TimeDelta::zero(), dry_run, &mut |_| {}).expect("a store that removes");
    assert_eq!((pruned.before, pruned.dry_run), (at(second), dry_run));
    (pruned.removed, pruned.needed)
}

fn prune(store: &Arc<dyn Store>) -> (RecordCounts, RecordCounts) {
    prune_before(store, OLD, false)
}

fn counts(deliveries: usize, events: usize) -> RecordCounts {
    RecordCounts { deliveries, events }
}

/// Nothing is removed, and so much is needed.
#[track_caller]
fn assert_kept(store: &Arc<dyn Store>, needed: RecordCounts) {
    let before = (deliveries(store, &any()), events(store));
    assert_eq!(prune(store), (counts(0, 0), needed));
    assert_eq!((deliveries(store, &any()), events(store)), before);
}

fn events(store: &Arc<dyn Store>) -> Vec<EventId> {
    let events = store.events(&EventFilter::any(1000)).expect("a store that reads");
    events.iter().map(|status| status.event.id).collect()
}

pub fn what_is_settled_told_and_old_is_removed(store: &Arc<dyn Store>) {
    paid_order(store, "o");
    settle(store, &[completion("o", "o"), partial_refund("o", "o", 1)], 1);
    deliver_all(store);
    let (settled, registered) = (payment(store, "o"), order(store, "o"));
    let told = events(store);
    assert_eq!(prune(store), (counts(3, 2), counts(0, 0)));
    assert_eq!((deliveries(store, &any()), events(store)), (vec![], vec![]));
    for id in told {
        assert_eq!(store.event(id).expect("a store that reads"), None);
    }
    // Payments and orders stay as they are.
    assert_eq!((payment(store, "o").payment, order(store, "o")), (settled.payment, registered));
    assert_eq!(prune(store), (counts(0, 0), counts(0, 0)));
}

pub fn what_is_not_old_stays(store: &Arc<dyn Store>) {
    for (id, second) in [("a", 1), ("b", 2), ("c", 3)] {
        register(store, &registration(id, id), 0);
        settle(store, &[completion(id, id)], second);
    }
    deliver_all(store);
    assert_eq!(prune_before(store, 2, false), (counts(1, 1), counts(0, 0)));
    assert_eq!(deliveries(store, &any()).len(), 2);
    assert_eq!(prune_before(store, 3, false), (counts(1, 1), counts(0, 0)));
    assert_eq!(payment(store, "c").deliveries.len(), 1);
}

pub fn a_dry_run_counts_the_same_and_removes_nothing(store: &Arc<dyn Store>) {
    paid_order(store, "o");
    deliver_all(store);
    register(store, &registration("open", "open"), 0);
    settle(store, &[reached("open", "open", PaymentStatus::Processing)], 1);
    let before = (deliveries(store, &any()), events(store));
    let counted = prune_before(store, OLD, true);
    assert_eq!(counted, (counts(1, 1), counts(1, 0)));
    assert_eq!((deliveries(store, &any()), events(store)), before);
    assert_eq!(prune(store), counted);
}

pub fn everything_of_an_order_with_an_open_payment_stays(store: &Arc<dyn Store>) {
    register(store, &registration("failed", "o"), 0);
    register(store, &registration("open", "o"), 0);
    settle(store, &[reached("failed", "o", PaymentStatus::Failed)], 1);
    deliver_all(store);
    assert_kept(store, counts(1, 1));
    settle(store, &[reached("open", "o", PaymentStatus::Processing)], 1);
    assert_kept(store, counts(2, 1));
    settle(store, &[reached("open", "o", PaymentStatus::Cancelled)], 1);
    deliver_all(store);
    assert_eq!(prune(store), (counts(3, 2), counts(0, 0)));
}

pub fn what_the_portal_was_not_told_stays(store: &Arc<dyn Store>) {
    paid_order(store, "o");
    assert_kept(store, counts(1, 1));
    attempt_all(store, AttemptResult::Failed);
    assert_kept(store, counts(1, 1));
}

pub fn an_order_with_a_dead_event_stays(store: &Arc<dyn Store>) {
    paid_order(store, "o");
    deliver_all(store);
    settle(store, &[partial_refund("o", "o", 1)], 1);
    attempt_all(store, AttemptResult::Dead);
    assert_kept(store, counts(2, 2));
    // When it was sent again and delivered, nothing of it is needed.
    let dead = store.events(&EventFilter { state: Some(EventState::Dead), ..EventFilter::any(1) });
    let dead = dead.expect("a store that reads").remove(0).event.id;
    assert!(store.redeliver(dead).expect("a store that redelivers"));
    deliver_all(store);
    assert_eq!(prune(store), (counts(2, 2), counts(0, 0)));
}

pub fn an_event_that_is_sent_again_meanwhile_stays(store: &Arc<dyn Store>) {
    paid_order(store, "o");
    deliver_all(store);
    let removable = store.removable(at(OLD), RecordPosition::default(), 10).expect("a store that reads");
    let [event] = removable.events[..] else { panic!("{removable:?}") };
    assert!(store.redeliver(event).expect("a store that redelivers"));
    assert_eq!(store.remove(&removable).expect("a store that removes"), counts(1, 0));
    let history = store.event(event).expect("a store that reads").expect("an event");
    assert_eq!((history.status.state, history.attempts.len()), (EventState::Pending, 1));
}

pub fn an_unapplied_payment_stays_until_it_is_refunded(store: &Arc<dyn Store>) {
    register(store, &registration("second", "paid"), 0);
    paid_order(store, "paid");
    settle(store, &[completion("second", "paid")], 1);
    register(store, &registration("late", "cancelled"), 0);
    cancel(store, "cancelled", 0);
    settle(store, &[completion("late", "cancelled")], 1);
    deliver_all(store);
    assert_kept(store, counts(3, 3));
    settle(store, &[reached("second", "paid", PaymentStatus::Refunded)], 1);
    deliver_all(store);
    assert_eq!(prune(store), (counts(3, 3), counts(1, 1)));
    assert_eq!(payment(store, "late").deliveries[0].outcome.kind(), OutcomeKind::Unapplied);
}

pub fn what_waits_for_its_payment_stays(store: &Arc<dyn Store>) {
    assert_eq!(settle(store, &[completion("p", "o"), completion("p", "o")], 1), [Outcome::Parked, Outcome::Parked]);
    let fragments = Payload { payment_id: Some(payment_id("p")), ..Payload::default() };
    note_invalid(store, &fragments, "status: is missing", &provenance(at(1)));
    assert_kept(store, counts(3, 0));
    // It is applied all the same when the payment is registered.
    register(store, &registration("p", "o"), 2);
    assert_kept(store, counts(4, 1));
    deliver_all(store);
    assert_eq!(prune(store), (counts(4, 1), counts(0, 0)));
}

pub fn what_was_said_about_no_registered_payment_is_removed(store: &Arc<dyn Store>) {
    note_invalid(store, &Payload::default(), "body: must be JSON", &provenance(at(1)));
    let fragments = Payload { payment_id: Some(payment_id("unknown")), ..Payload::default() };
    note_invalid(store, &fragments, "status: is missing", &provenance(at(1)));
    assert_eq!(prune(store), (counts(2, 0), counts(0, 0)));
}

pub fn what_was_rejected_stays_as_long_as_its_payment_is_open(store: &Arc<dyn Store>) {
    register(store, &registration("p", "o"), 0);
    settle(store, &[completion("p", "elsewhere")], 1);
    let fragments = Payload { payment_id: Some(payment_id("p")), ..Payload::default() };
    note_invalid(store, &fragments, "status: is missing", &provenance(at(1)));
    assert_kept(store, counts(2, 0));
    settle(store, &[completion("p", "o")], 1);
    deliver_all(store);
    assert_eq!(prune(store), (counts(3, 1), counts(0, 0)));
}

pub fn a_partial_refund_is_known_again_when_its_entry_is_gone(store: &Arc<dyn Store>) {
    paid_order(store, "o");
    settle(store, &[partial_refund("o", "o", 1)], 1);
    deliver_all(store);
    prune(store);
    let again = settle(store, &[completion("o", "o"), partial_refund("o", "o", 1)], 2);
    assert_eq!(again, [Outcome::Duplicate, Outcome::Duplicate]);
}

pub fn a_replay_leaves_an_entry_after_the_removal(store: &Arc<dyn Store>) {
    paid_order(store, "o");
    deliver_all(store);
    let replayed = Provenance { source: Source::Replay, ..provenance(at(OLD)) };
    prune(store);
    settle_as(store, &[(completion("o", "o"), replayed)]).expect("a ledger that settles");
    let left = deliveries(store, &any());
    assert_eq!((left.len(), left[0].provenance.source), (1, Source::Replay));
}

pub fn records_are_looked_at_in_parts(store: &Arc<dyn Store>) {
    for id in ["a", "b", "c", "d", "e"] {
        paid_order(store, id);
    }
    register(store, &registration("open", "c"), 0);
    deliver_all(store);
    let mut next = Some(RecordPosition::default());
    let (mut parts, mut removable, mut needed) = (0, Vec::new(), counts(0, 0));
    while let Some(position) = next {
        let part = store.removable(at(OLD), position, 2).expect("a store that reads");
        assert!(part.deliveries.len() <= 2 && part.events.len() <= 2, "{part:?}");
        removable.extend(part.deliveries.iter().copied());
        needed += part.needed;
        next = part.next;
        parts += 1;
    }
    let mut all: Vec<DeliveryId> =
        deliveries(store, &DeliveryFilter::newest(10)).iter().map(|entry| entry.provenance.delivery_id).collect();
    all.reverse();
    all.remove(2);
    assert_eq!((parts, removable, needed), (3, all, counts(1, 1)));
    assert_eq!(store.remove(&RemovableRecords::default()).expect("a store that removes"), counts(0, 0));
}

pub fn callbacks_are_settled_while_records_are_removed(store: &Arc<dyn Store>) {
    const ORDERS: usize = 50;
    let id = |n: usize| format!("o{n}");
    for n in 0..ORDERS {
        paid_order(store, &id(n));
    }
    deliver_all(store);
    thread::scope(|scope| {
        let removing = scope.spawn(|| {
            let mut removed = counts(0, 0);
            let mut next = Some(RecordPosition::default());
            while let Some(position) = next {
                let part = store.removable(at(OLD), position, 3).expect("a store that reads");
                removed += store.remove(&part).expect("a store that removes");
                next = part.next;
            }
            removed
        });
        for n in (0..ORDERS).rev() {
            settle(store, &[partial_refund(&id(n), &id(n), 5)], OLD);
        }
        // Only the orders that were looked at before they had something new to tell.
        let removed = removing.join().expect("a removal");
        assert!(removed.deliveries <= ORDERS && removed.events <= ORDERS, "{removed:?}");
        assert_eq!(deliveries(store, &any()).len(), 2 * ORDERS - removed.deliveries);
    });
}
