//! What the portal must be told: claimed, sent, given back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use domain::{Event, EventAttempt, EventKind, EventState, PaymentStatus, Report};
use ports::{
    AttemptResult, AttemptedEvent, CLAIMED_EVENTS_MAX, ClaimedQueue, EventFilter, EventHistory, EventStatus,
    QueueProgress, Store,
};

use crate::fixtures::{
    at, completion, money, notification, order_id, partial_refund, payment_id, register, registration, settle,
};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// How long a claim lasts whose end is waited for.
const SHORT: Duration = Duration::from_millis(50);

fn failed(payment: &str, order: &str) -> domain::Notification {
    notification(payment, order, Report::Reached(PaymentStatus::Failed))
}

/// Registers and completes a payment of 29 euros for each of these orders, which have the ids of the payments.
fn paid_orders<const N: usize>(store: &Arc<dyn Store>, ids: [&str; N]) {
    for (second, id) in (0..).zip(ids) {
        register(store, &registration(id, id), second);
        settle(store, &[completion(id, id)], second);
    }
}

fn claim(store: &Arc<dyn Store>, queues_max: usize, duration: Duration) -> Vec<ClaimedQueue> {
    store.claim(queues_max, duration).expect("a store that claims").queues
}

/// The only queue that is due.
fn claim_one(store: &Arc<dyn Store>, duration: Duration) -> ClaimedQueue {
    let mut claimed = claim(store, 10, duration);
    assert_eq!(claimed.len(), 1, "{claimed:?}");
    claimed.remove(0)
}

/// The orders whose queues are due, in the order of their ids.
fn claim_orders(store: &Arc<dyn Store>, queues_max: usize, duration: Duration) -> BTreeSet<String> {
    claim(store, queues_max, duration).iter().map(order_of).collect()
}

fn order_of(queue: &ClaimedQueue) -> String {
    queue.events[0].event.order_id.to_string()
}

fn kinds(queue: &ClaimedQueue) -> Vec<EventKind> {
    queue.events.iter().map(|pending| pending.event.kind).collect()
}

/// An attempt at this second, with this result.
fn attempted(event: &Event, second: i64, result: AttemptResult) -> AttemptedEvent {
    let delivered = result == AttemptResult::Delivered;
    let attempt = EventAttempt {
        attempted_at: at(second),
        duration: Duration::from_millis(1500),
        status: Some(if delivered { 204 } else { 500 }),
        error: (!delivered).then(|| "answered 500".to_owned()),
    };
    AttemptedEvent { id: event.id, attempt, result }
}

/// What came of sending the first events of a claimed queue, one result for each.
fn progress(queue: &ClaimedQueue, results: &[AttemptResult], due_in: Option<Duration>) -> QueueProgress {
    let attempts = queue.events.iter().zip(results).map(|(pending, result)| attempted(&pending.event, 10, *result));
    QueueProgress { claim: queue.claim, attempts: attempts.collect(), due_in }
}

/// Whether events were added to the queue meanwhile.
fn record(store: &Arc<dyn Store>, progress: QueueProgress) -> bool {
    store.record(&[progress]).expect("a store that records")
}

/// Delivers the whole queue. Whether events were added to it meanwhile.
fn deliver(store: &Arc<dyn Store>, queue: &ClaimedQueue) -> bool {
    record(store, progress(queue, &vec![AttemptResult::Delivered; queue.events.len()], None))
}

fn events(store: &Arc<dyn Store>, filter: &EventFilter) -> Vec<EventStatus> {
    store.events(filter).expect("a store that reads")
}

/// The event of this order, which has one.
fn event_of(store: &Arc<dyn Store>, order: &str) -> EventHistory {
    let filter = EventFilter { order: Some(order_id(order)), ..EventFilter::any(10) };
    let found = events(store, &filter);
    assert_eq!(found.len(), 1, "{found:?}");
    store.event(found[0].event.id).expect("a store that reads").expect("an event")
}

fn state_of(store: &Arc<dyn Store>, order: &str) -> EventState {
    event_of(store, order).status.state
}

pub fn an_event_is_claimed_with_what_the_portal_is_told(store: &Arc<dyn Store>) {
    paid_orders(store, ["o"]);
    let queue = claim_one(store, LONG);
    let [pending] = &queue.events[..] else { panic!("{queue:?}") };
    let Event { id: _, kind, order_id: order, payment_id: payment, paid_at, created_at } = pending.event.clone();
    assert_eq!((kind, order, payment), (EventKind::OrderPaid, order_id("o"), payment_id("o")));
    assert_eq!((paid_at, created_at), (Some(at(0)), at(0)));
    let method = registration("o", "o").method;
    assert_eq!((pending.method, pending.price, pending.failures), (method, money("29.00", "EUR"), 0));
}

pub fn the_events_of_an_order_are_claimed_in_the_order_of_their_settlements(store: &Arc<dyn Store>) {
    for payment in ["a", "b"] {
        register(store, &registration(payment, "o"), 0);
    }
    // Received in another order than settled, as replicas with different clocks do.
    settle(store, &[failed("a", "o")], 9);
    settle(store, &[completion("b", "o")], 3);
    settle(store, &[partial_refund("b", "o", 1), completion("a", "o")], 5);
    let settled = [
        EventKind::PaymentFailed,
        EventKind::OrderPaid,
        EventKind::PaymentPartiallyRefunded,
        EventKind::PaymentUnapplied,
    ];
    assert_eq!(kinds(&claim_one(store, LONG)), settled);
}

pub fn what_leads_to_no_event_leaves_nothing_to_send(store: &Arc<dyn Store>) {
    paid_orders(store, ["o"]);
    deliver(store, &claim_one(store, LONG));
    settle(store, &[completion("o", "o"), failed("o", "o"), completion("o", "other"), completion("unknown", "o")], 1);
    assert_eq!(claim(store, 10, LONG), []);
}

pub fn a_claimed_queue_is_free_when_its_claim_has_ended(store: &Arc<dyn Store>) {
    paid_orders(store, ["o"]);
    let first = claim_one(store, SHORT);
    assert_eq!(claim(store, 10, LONG), []);
    thread::sleep(SHORT + Duration::from_millis(20));
    let second = claim_one(store, LONG);
    assert_eq!(second.events, first.events);
    // The first sender was slow. What it delivered is delivered, and the second one keeps the queue.
    deliver(store, &first);
    assert_eq!(state_of(store, "o"), EventState::Delivered);
    settle(store, &[partial_refund("o", "o", 1)], 1);
    assert_eq!(claim(store, 10, LONG), []);
    deliver(store, &second);
    assert_eq!(kinds(&claim_one(store, LONG)), [EventKind::PaymentPartiallyRefunded]);
}

pub fn queues_are_claimed_side_by_side_up_to_a_limit(store: &Arc<dyn Store>) {
    paid_orders(store, ["a", "b", "c"]);
    assert_eq!(claim(store, 0, LONG), []);
    let claims = store.claim(2, LONG).expect("a store that claims");
    let mut orders: BTreeSet<_> = claims.queues.iter().map(order_of).collect();
    assert_eq!((orders.len(), claims.next_due_in), (2, Some(Duration::ZERO)), "there is more");
    orders.extend(claim_orders(store, 2, LONG));
    assert_eq!(orders, ["a", "b", "c"].map(str::to_owned).into());
    assert_eq!(store.claim(2, LONG).expect("a store that claims").next_due_in, None, "all of them are claimed");
}

pub fn the_queue_that_is_due_for_the_longest_time_is_claimed_first(store: &Arc<dyn Store>) {
    paid_orders(store, ["a", "b"]);
    let failed = |queue: &ClaimedQueue| {
        let due_in = if order_of(queue) == "a" { 60 } else { 20 };
        progress(queue, &[AttemptResult::Failed], Some(Duration::from_millis(due_in)))
    };
    let both: Vec<_> = claim(store, 10, LONG).iter().map(failed).collect();
    store.record(&both).expect("a store that records");
    thread::sleep(Duration::from_millis(120));
    assert_eq!(order_of(&claim(store, 1, LONG)[0]), "b");
    assert_eq!(order_of(&claim(store, 1, LONG)[0]), "a");
}

pub fn what_is_delivered_is_not_claimed_again(store: &Arc<dyn Store>) {
    paid_orders(store, ["o"]);
    deliver(store, &claim_one(store, LONG));
    assert_eq!(claim(store, 10, LONG), []);
    let EventHistory { status, attempts } = event_of(store, "o");
    assert_eq!((status.state, status.attempts, status.last_error), (EventState::Delivered, 1, None));
    assert_eq!((status.delivered_at, status.next_attempt_at), (Some(at(10) + Duration::from_millis(1500)), None));
    let attempt = attempted(&status.event, 10, AttemptResult::Delivered).attempt;
    assert_eq!(attempts, [attempt]);
}

pub fn a_queue_that_failed_is_due_after_its_pause_and_holds_up_itself_alone(store: &Arc<dyn Store>) {
    paid_orders(store, ["a", "b"]);
    for queue in claim(store, 10, LONG) {
        let failed = progress(&queue, &[AttemptResult::Failed], Some(LONG));
        if order_of(&queue) == "a" {
            record(store, failed)
        } else {
            deliver(store, &queue)
        };
    }
    let claims = store.claim(10, LONG).expect("a store that claims");
    assert_eq!(claims.queues, []);
    let until_due = claims.next_due_in.expect("a queue that will be due");
    assert!(until_due <= LONG && until_due > LONG / 2, "{until_due:?}");
    let EventHistory { status, attempts } = event_of(store, "a");
    assert_eq!((status.state, status.attempts), (EventState::Pending, 1));
    assert_eq!((status.last_error.as_deref(), attempts[0].status), (Some("answered 500"), Some(500)));
    assert!(status.next_attempt_at.is_some(), "{status:?}");
    // Another event of that order waits behind it; the other order goes on.
    settle(store, &[partial_refund("a", "a", 1), partial_refund("b", "b", 1)], 2);
    assert_eq!(kinds(&claim_one(store, LONG)), [EventKind::PaymentPartiallyRefunded]);
}

pub fn attempts_that_failed_are_counted(store: &Arc<dyn Store>) {
    paid_orders(store, ["o"]);
    for failures in 0..3 {
        let queue = claim_one(store, LONG);
        assert_eq!(queue.events[0].failures, failures);
        let attempt = attempted(&queue.events[0].event, i64::from(failures), AttemptResult::Failed);
        let again = Some(Duration::ZERO);
        record(store, QueueProgress { claim: queue.claim, attempts: vec![attempt], due_in: again });
    }
    let EventHistory { status, attempts } = event_of(store, "o");
    let times: Vec<_> = attempts.iter().map(|attempt| attempt.attempted_at).collect();
    assert_eq!((status.attempts, times), (3, vec![at(2), at(1), at(0)]), "newest first");
}

pub fn a_dead_event_holds_up_no_other(store: &Arc<dyn Store>) {
    paid_orders(store, ["o"]);
    settle(store, &[partial_refund("o", "o", 1), partial_refund("o", "o", 2)], 1);
    let queue = claim_one(store, LONG);
    record(store, progress(&queue, &[AttemptResult::Dead, AttemptResult::Delivered], Some(Duration::ZERO)));
    let queue = claim_one(store, LONG);
    assert_eq!(kinds(&queue), [EventKind::PaymentPartiallyRefunded]);
    deliver(store, &queue);
    assert_eq!(claim(store, 10, LONG), []);
    let dead = events(store, &EventFilter { state: Some(EventState::Dead), ..EventFilter::any(10) });
    assert_eq!(dead.iter().map(|status| status.event.kind).collect::<Vec<_>>(), [EventKind::OrderPaid]);
    assert_eq!((dead[0].attempts, dead[0].next_attempt_at, dead[0].delivered_at), (1, None, None));
}

pub fn an_event_that_is_added_to_a_claimed_queue_is_not_forgotten(store: &Arc<dyn Store>) {
    paid_orders(store, ["o"]);
    let queue = claim_one(store, LONG);
    settle(store, &[partial_refund("o", "o", 1)], 1);
    assert_eq!(claim(store, 10, LONG), [], "it waits for those before it");
    assert!(deliver(store, &queue), "there is more to send");
    let next = claim_one(store, LONG);
    assert_eq!(kinds(&next), [EventKind::PaymentPartiallyRefunded]);
    assert!(!deliver(store, &next));
    assert_eq!(claim(store, 10, LONG), []);
}

pub fn a_long_queue_is_claimed_in_parts(store: &Arc<dyn Store>) {
    paid_orders(store, ["o"]);
    let refunds: Vec<_> = (1..).take(CLAIMED_EVENTS_MAX).map(|second| partial_refund("o", "o", second)).collect();
    settle(store, &refunds, 1);
    let queue = claim_one(store, LONG);
    assert_eq!(queue.events.len(), CLAIMED_EVENTS_MAX);
    record(store, progress(&queue, &[AttemptResult::Delivered; CLAIMED_EVENTS_MAX], Some(Duration::ZERO)));
    assert_eq!(kinds(&claim_one(store, LONG)), [EventKind::PaymentPartiallyRefunded]);
}

pub fn a_claim_may_be_given_back_unused(store: &Arc<dyn Store>) {
    paid_orders(store, ["o"]);
    let queue = claim_one(store, LONG);
    record(store, progress(&queue, &[], Some(Duration::ZERO)));
    let again = claim_one(store, LONG);
    assert_eq!((again.events, event_of(store, "o").status.attempts), (queue.events, 0));
}

pub fn an_event_is_redelivered_whatever_its_state(store: &Arc<dyn Store>) {
    paid_orders(store, ["dead", "delivered", "waits"]);
    for queue in claim(store, 10, LONG) {
        match order_of(&queue).as_str() {
            "dead" => record(store, progress(&queue, &[AttemptResult::Dead], None)),
            "delivered" => deliver(store, &queue),
            _ => record(store, progress(&queue, &[AttemptResult::Failed], Some(LONG))),
        };
    }
    assert_eq!(claim(store, 10, LONG), []);
    for order in ["dead", "delivered", "waits"] {
        let id = event_of(store, order).status.event.id;
        assert!(store.redeliver(id).expect("a store that redelivers"), "{order}");
        let queue = claim_one(store, LONG);
        assert_eq!((order_of(&queue), queue.events[0].failures), (order.to_owned(), 0));
        let status = event_of(store, order).status;
        assert_eq!((status.state, status.attempts, status.delivered_at), (EventState::Pending, 1, None), "{order}");
        deliver(store, &queue);
        assert_eq!(state_of(store, order), EventState::Delivered);
    }
    let unknown = domain::EventId::parse("00000000-0000-7000-8000-000000000000").expect("an id");
    assert!(!store.redeliver(unknown).expect("a store that redelivers"));
}

pub fn all_events_that_a_filter_lets_through_are_redelivered(store: &Arc<dyn Store>) {
    paid_orders(store, ["a", "b", "c", "d"]);
    for queue in claim(store, 10, LONG) {
        let result = if order_of(&queue) == "a" { AttemptResult::Delivered } else { AttemptResult::Dead };
        record(store, progress(&queue, &[result], None));
    }
    let redeliver = |filter| store.redeliver_all(&filter).expect("a store that redelivers");
    let dead = EventFilter { state: Some(EventState::Dead), ..EventFilter::any(1) };
    assert_eq!(redeliver(dead.clone()), 1);
    assert_eq!(claim_orders(store, 10, LONG), ["b".to_owned()].into(), "the oldest");
    assert_eq!(redeliver(EventFilter { since: Some(at(3)), limit: 10, ..dead.clone() }), 1);
    assert_eq!(claim_orders(store, 10, LONG), ["d".to_owned()].into());
    assert_eq!(redeliver(EventFilter { order: Some(order_id("a")), ..EventFilter::any(10) }), 1);
    assert_eq!(claim_orders(store, 10, LONG), ["a".to_owned()].into());
    assert_eq!(redeliver(EventFilter { order: Some(order_id("unknown")), ..EventFilter::any(10) }), 0);
    assert_eq!(redeliver(EventFilter { limit: 10, ..dead.clone() }), 1);
    assert_eq!(redeliver(EventFilter { limit: 10, ..dead }), 0);
}

pub fn events_are_found_by_any_combination_of_filters(store: &Arc<dyn Store>) {
    paid_orders(store, ["a", "b"]);
    register(store, &registration("late", "b"), 2);
    settle(store, &[completion("late", "b")], 3);
    settle(store, &[partial_refund("b", "b", 1)], 4);
    for queue in claim(store, 10, LONG) {
        let results = [AttemptResult::Delivered, AttemptResult::Dead];
        record(store, progress(&queue, &results, Some(LONG)));
    }
    let found = |filter: EventFilter| {
        let words = |status: EventStatus| format!("{} of {}", status.event.kind, status.event.payment_id);
        events(store, &filter).into_iter().map(words).collect::<Vec<_>>()
    };
    let any = EventFilter::any(10);
    let of = |payment: &str| EventFilter { payment: Some(payment_id(payment)), ..any.clone() };
    let all = ["payment.partially_refunded of b", "payment.unapplied of late", "order.paid of b", "order.paid of a"];
    assert_eq!(found(any.clone()), all);
    assert_eq!(found(of("b")), [all[0], all[2]]);
    assert_eq!(found(of("unknown")), [""; 0]);
    assert_eq!(found(EventFilter { order: Some(order_id("b")), ..any.clone() }), all[..3]);
    assert_eq!(found(EventFilter { order: Some(order_id("a")), ..of("b") }), [""; 0]);
    assert_eq!(found(EventFilter { since: Some(at(1)), ..any.clone() }), all[..3]);
    assert_eq!(found(EventFilter { since: Some(at(5)), ..any.clone() }), [""; 0]);
    assert_eq!(found(EventFilter { state: Some(EventState::Delivered), ..any.clone() }), all[2..]);
    assert_eq!(found(EventFilter { state: Some(EventState::Dead), ..any.clone() }), [all[1]]);
    assert_eq!(found(EventFilter { state: Some(EventState::Pending), ..any.clone() }), [all[0]]);
    assert_eq!(found(EventFilter { state: Some(EventState::Pending), ..of("late") }), [""; 0]);
}

pub fn pages_of_events_follow_each_other_without_gap_or_overlap(store: &Arc<dyn Store>) {
    paid_orders(store, ["a", "b", "c"]);
    settle(store, &[partial_refund("b", "b", 1), partial_refund("b", "b", 2)], 5);
    for filter in [EventFilter::any(2), EventFilter { order: Some(order_id("b")), ..EventFilter::any(2) }] {
        let all: Vec<_> = events(store, &EventFilter { limit: 10, ..filter.clone() });
        let (mut paged, mut page) = (Vec::new(), filter.clone());
        loop {
            let next = events(store, &page);
            let Some(last) = next.last() else { break };
            page.before = Some(last.event.id);
            paged.extend(next);
        }
        assert_eq!(paged, all);
    }
}

pub fn monitoring_sees_what_is_to_be_sent_and_what_was_given_up(store: &Arc<dyn Store>) {
    let seen = || {
        let stats = store.stats().expect("a store that reads");
        (stats.pending_events, stats.oldest_pending_event_at, stats.dead_events)
    };
    assert_eq!(seen(), (0, None, 0));
    paid_orders(store, ["a", "b", "c"]);
    assert_eq!(seen(), (3, Some(at(0)), 0));
    for queue in claim(store, 10, LONG) {
        match order_of(&queue).as_str() {
            "a" => deliver(store, &queue),
            "b" => record(store, progress(&queue, &[AttemptResult::Dead], None)),
            _ => false,
        };
    }
    assert_eq!(seen(), (1, Some(at(2)), 1));
}

pub fn of_many_that_claim_at_once_each_queue_goes_to_one(store: &Arc<dyn Store>) {
    claimed_at_once(&[Arc::clone(store)]);
}

/// Has four threads at each of these stores claim everything at once.
pub(crate) fn claimed_at_once(stores: &[Arc<dyn Store>]) {
    let ids: Vec<String> = (0..60).map(|n| format!("o{n:02}")).collect();
    for id in &ids {
        paid_orders(&stores[0], [id]);
    }
    let claimants: Vec<_> = stores.iter().cycle().take(4 * stores.len()).collect();
    let start = Barrier::new(claimants.len());
    let claimed: Vec<String> = thread::scope(|scope| {
        let claim_all = |store: &Arc<dyn Store>| {
            let (store, start) = (Arc::clone(store), &start);
            scope.spawn(move || {
                start.wait();
                let mut orders = Vec::new();
                // Another's claim may be under way when there seems to be nothing left.
                for _ in 0..40 {
                    orders.extend(claim(&store, 3, LONG).iter().map(order_of));
                }
                orders
            })
        };
        let threads: Vec<_> = claimants.into_iter().map(claim_all).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let distinct: BTreeSet<&String> = claimed.iter().collect();
    assert_eq!((claimed.len(), distinct.len()), (60, 60), "{claimed:?}");
}

pub fn events_that_are_settled_while_others_are_sent_are_sent_in_order(store: &Arc<dyn Store>) {
    sent_in_order(&[Arc::clone(store)]);
}

/// Settles payments of a few orders in threads at these stores, while a thread at each store sends their events, and
/// compares what was sent with what is stored.
pub(crate) fn sent_in_order(stores: &[Arc<dyn Store>]) {
    const ORDERS: usize = 3;
    const PAYMENTS: usize = 12;
    let orders: Vec<String> = (0..ORDERS).map(|n| format!("o{n}")).collect();
    for order in &orders {
        (0..PAYMENTS).for_each(|n| drop(register(&stores[0], &registration(&format!("{order} p{n}"), order), 0)));
    }
    let settled = AtomicBool::new(false);
    let sent: Mutex<Vec<Event>> = Mutex::default();
    thread::scope(|scope| {
        let send = |store: &Arc<dyn Store>| {
            let (store, settled, sent) = (Arc::clone(store), &settled, &sent);
            scope.spawn(move || {
                loop {
                    let was_settled = settled.load(Ordering::SeqCst);
                    let queues = claim(&store, 2, LONG);
                    if queues.is_empty() && was_settled {
                        return;
                    }
                    for queue in &queues {
                        sent.lock().expect("no panic").extend(queue.events.iter().map(|pending| pending.event.clone()));
                        let due_in = (queue.events.len() == CLAIMED_EVENTS_MAX).then_some(Duration::ZERO);
                        record(&store, progress(queue, &[AttemptResult::Delivered; CLAIMED_EVENTS_MAX], due_in));
                    }
                }
            })
        };
        stores.iter().for_each(|store| drop(send(store)));
        let settlers: Vec<_> = (0..4)
            .map(|thread| {
                let (store, orders) = (Arc::clone(&stores[thread % stores.len()]), &orders);
                scope.spawn(move || {
                    for n in (0..PAYMENTS).filter(|n| n % 4 == thread) {
                        for order in orders {
                            let id = format!("{order} p{n}");
                            settle(&store, &[failed(&id, order)], 1);
                            settle(&store, &[completion(&id, order)], 2);
                        }
                    }
                })
            })
            .collect();
        settlers.into_iter().for_each(|settler| settler.join().expect("no panic"));
        settled.store(true, Ordering::SeqCst);
    });
    let mut by_order: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for event in sent.into_inner().expect("no panic") {
        by_order.entry(event.order_id.to_string()).or_default().push(event);
    }
    for order in &orders {
        let filter = EventFilter { order: Some(order_id(order)), ..EventFilter::any(1000) };
        let stored: BTreeSet<_> = events(&stores[0], &filter).into_iter().map(|status| status.event.id).collect();
        let sent = &by_order[order];
        assert_eq!((sent.len(), stored.len()), (2 * PAYMENTS, 2 * PAYMENTS), "each event once");
        assert!(sent.iter().all(|event| stored.contains(&event.id)));
        for n in 0..PAYMENTS {
            let of_payment = sent.iter().filter(|event| event.payment_id == payment_id(&format!("{order} p{n}")));
            let kinds: Vec<_> = of_payment.map(|event| event.kind).collect();
            assert_eq!(kinds[0], EventKind::PaymentFailed, "{kinds:?}");
        }
    }
}
