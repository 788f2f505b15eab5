//! Whatever is done at the same time, an order is paid once and nothing is lost.

use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use domain::{
    Cancellation, Content, OrderStatus, Outcome, PaymentStatus, Registration, RegistrationOutcome, Report,
    UnappliedReason,
};
use ports::{LedgerExt as _, Scope, Store};

use crate::fixtures::{
    any, at, completion, count, deliveries, money, notification, order, order_id, outcomes, partial_refund, payment,
    payment_id, provenance, register, registration, settle, try_cancel,
};

const ROUNDS: usize = 60;

type Act<'a, T> = Box<dyn FnOnce() -> T + Send + 'a>;

/// Lets everybody act at once.
fn at_once<'a, T: Send>(acts: Vec<Act<'a, T>>) -> Vec<T> {
    let start = Barrier::new(acts.len());
    let start = &start;
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for act in acts {
            threads.push(scope.spawn(move || {
                start.wait();
                act()
            }));
        }
        threads.into_iter().map(|thread| thread.join().expect("an act without a panic")).collect()
    })
}

pub fn overlapping_batches_neither_block_each_other_nor_lose_anything(ledger: &Arc<dyn Store>) {
    const THREADS: usize = 8;
    const BATCHES: usize = 12;
    let known: Vec<(String, String)> = (0..6).map(|n| (format!("p{n}"), format!("o{}", n / 2))).collect();
    for (payment, order) in &known {
        register(ledger, &registration(payment, order), 0);
    }
    let acts = (0..THREADS).map(|thread| -> Act<'_, Vec<Outcome>> {
        let known = &known;
        Box::new(move || {
            let batch = |round: usize| {
                let mut said: Vec<_> = known.iter().map(|(payment, order)| completion(payment, order)).collect();
                let sent_at = i64::try_from(thread * BATCHES + round).expect("a small number");
                said.push(partial_refund(&known[round % 6].0, &known[round % 6].1, sent_at));
                said.push(completion(&format!("unknown {}", (thread + round) % 3), "nobody's"));
                said.rotate_left((thread + round) % 8);
                if thread % 2 == 0 {
                    said.reverse();
                }
                said
            };
            (0..BATCHES).flat_map(|round| settle(ledger, &batch(round), 1)).collect()
        })
    });
    let said: Vec<Outcome> = at_once(acts.collect()).into_iter().flatten().collect();
    assert_eq!(count(&said, &Outcome::Parked), THREADS * BATCHES);

    let entries = deliveries(ledger, &any());
    assert_eq!(entries.len(), said.len(), "every callback left its entry");
    for (id, order_text) in &known {
        let of_payment = || entries.iter().filter(|entry| entry.content.payment_id() == Some(&payment_id(id)));
        let moves = of_payment().filter(|entry| entry.previous_status != entry.new_status).count();
        assert_eq!(moves, 1, "{id} is completed once");
        let mut refunds = of_payment().filter(
            |entry| matches!(&entry.content, Content::Notification(said) if said.report == Report::PartialRefund),
        );
        assert!(refunds.all(|entry| entry.outcome != Outcome::Duplicate), "no partial refund is taken for another");
        assert_eq!(order(ledger, order_text).order.status, OrderStatus::Paid);
    }
    let pays = |entry: &&domain::Delivery| {
        let moved = entry.previous_status != entry.new_status;
        moved && !matches!(entry.outcome, Outcome::Unapplied(_) | Outcome::Parked)
    };
    assert_eq!(entries.iter().filter(pays).count(), 3, "each order is paid once");
}

pub fn one_completion_of_many_at_once_counts(ledger: &Arc<dyn Store>) {
    for round in 0..ROUNDS {
        let (id, order_text) = (format!("p{round}"), format!("o{round}"));
        register(ledger, &registration(&id, &order_text), 0);
        let act = || settle(ledger, &[completion(&id, &order_text)], 1).remove(0);
        let said = at_once((0..4).map(|_| -> Act<'_, Outcome> { Box::new(act) }).collect());
        assert_eq!((count(&said, &Outcome::Completed), count(&said, &Outcome::Duplicate)), (1, 3));
    }
}

pub fn of_two_payments_at_once_one_pays_their_order(ledger: &Arc<dyn Store>) {
    for round in 0..ROUNDS {
        let (payments, order_text) = ([format!("p{round}"), format!("q{round}")], format!("o{round}"));
        for id in &payments {
            register(ledger, &registration(id, &order_text), 0);
        }
        let acts = payments.iter().map(|id| -> Act<'_, Outcome> {
            let said = completion(id, &order_text);
            Box::new(move || settle(ledger, &[said], 1).remove(0))
        });
        let said = at_once(acts.collect());
        let late = Outcome::Unapplied(UnappliedReason::OrderPaid);
        assert_eq!((count(&said, &Outcome::Completed), count(&said, &late)), (1, 1));
        let winner = said.iter().position(|outcome| *outcome == Outcome::Completed).expect("one of them");
        assert_eq!(order(ledger, &order_text).order.paid_by, Some(payment_id(&payments[winner])));
    }
}

pub fn an_order_is_cancelled_or_paid_but_not_both(ledger: &Arc<dyn Store>) {
    for round in 0..ROUNDS {
        let (id, order_text) = (format!("p{round}"), format!("o{round}"));
        register(ledger, &registration(&id, &order_text), 0);
        let cancel = || {
            let cancelled = try_cancel(ledger, &order_text, 1);
            cancelled.expect("a ledger that cancels") == Cancellation::Cancelled
        };
        let unpaid = || {
            let outcome = settle(ledger, &[completion(&id, &order_text)], 1).remove(0);
            outcome == Outcome::Unapplied(UnappliedReason::OrderCancelled)
        };
        let said = at_once(vec![Box::new(cancel) as Act<'_, bool>, Box::new(unpaid)]);
        assert_eq!(said[0], said[1], "cancelled and therefore not paid, or paid and therefore not cancelled");
        let expected = if said[0] { OrderStatus::Cancelled } else { OrderStatus::Paid };
        assert_eq!(order(ledger, &order_text).order.status, expected);
    }
}

pub fn a_notification_that_races_its_registration_is_never_lost(ledger: &Arc<dyn Store>) {
    for round in 0..2 * ROUNDS {
        let (id, order_text) = (format!("p{round}"), format!("o{round}"));
        let notify = || {
            let processing = notification(&id, &order_text, Report::Reached(PaymentStatus::Processing));
            let mut said = settle(ledger, &[processing], 1);
            said.extend(settle(ledger, &[completion("unknown", "o"), completion(&id, &order_text)], 2).split_off(1));
            said
        };
        let register_it = || outcomes(&register(ledger, &registration(&id, &order_text), 3).applied);
        let mut said =
            at_once(vec![Box::new(register_it) as Act<'_, Vec<Outcome>>, Box::new(notify), Box::new(notify)]);
        let applied = said.remove(0);
        let direct: Vec<_> = said.into_iter().flatten().collect();

        // Both say that it is processing and then that it is completed; each waits once.
        let parked = |kind: usize| direct.iter().skip(kind).step_by(2).any(|outcome| *outcome == Outcome::Parked);
        let different = usize::from(parked(0)) + usize::from(parked(1));
        assert_eq!(applied.len(), different, "what was parked was applied");
        assert_eq!(count(applied.iter().chain(&direct), &Outcome::Completed), 1);
        let history = payment(ledger, &id);
        assert_eq!(history.payment.payment.status, PaymentStatus::Completed);
        assert_eq!((history.order.status, history.order.paid_by), (OrderStatus::Paid, Some(payment_id(&id))));
        let again = register(ledger, &registration(&id, &order_text), 4);
        assert_eq!(outcomes(&again.applied), [], "nothing is left waiting");
    }
}

pub fn a_payment_is_registered_once(ledger: &Arc<dyn Store>) {
    for round in 0..ROUNDS {
        let (id, order_text) = (format!("p{round}"), format!("o{round}"));
        let same = registration(&id, &order_text);
        let act = || register(ledger, &same, 1).outcome;
        let said = at_once((0..3).map(|_| -> Act<'_, RegistrationOutcome> { Box::new(act) }).collect());
        let registered = said.iter().filter(|outcome| **outcome == RegistrationOutcome::Registered).count();
        let exists = said.iter().filter(|outcome| **outcome == RegistrationOutcome::Exists).count();
        assert_eq!((registered, exists), (1, 2));
    }
}

pub fn one_registration_of_many_that_differ_counts(ledger: &Arc<dyn Store>) {
    for round in 0..ROUNDS {
        let id = format!("p{round}");
        let orders = [format!("o{round}"), format!("other {round}")];
        let acts = orders.iter().map(|order_text| -> Act<'_, RegistrationOutcome> {
            let registration = registration(&id, order_text);
            Box::new(move || register(ledger, &registration, 1).outcome)
        });
        let said = at_once(acts.collect());
        let winner = said.iter().position(|outcome| *outcome == RegistrationOutcome::Registered).expect("one of them");
        assert_eq!(said[1 - winner], RegistrationOutcome::PaymentConflict);
        assert_eq!(payment(ledger, &id).order.id, order_id(&orders[winner]));
        let loser = ledger.order(&order_id(&orders[1 - winner])).expect("a ledger that reads");
        assert_eq!(loser, None, "an order without a payment is not left behind");
    }
}

pub fn two_payments_of_one_new_order_are_registered_at_once(ledger: &Arc<dyn Store>) {
    for round in 0..ROUNDS {
        let (payments, order_text) = ([format!("p{round}"), format!("q{round}")], format!("o{round}"));
        // Of one of them the money is in already.
        settle(ledger, &[completion(&payments[0], &order_text)], 0);
        let acts = payments.iter().map(|id| -> Act<'_, RegistrationOutcome> {
            let registration = registration(id, &order_text);
            Box::new(move || register(ledger, &registration, 1).outcome)
        });
        assert_eq!(at_once(acts.collect()), [RegistrationOutcome::Registered; 2]);
        let history = order(ledger, &order_text);
        assert_eq!((history.payments.len(), history.order.paid_by), (2, Some(payment_id(&payments[0]))));
    }
}

pub fn the_first_price_of_an_order_counts(ledger: &Arc<dyn Store>) {
    for round in 0..ROUNDS {
        let order_text = format!("o{round}");
        let offers = [("p", "29"), ("q", "30")].map(|(id, amount)| Registration {
            price: money(amount, "EUR"),
            ..registration(&format!("{id}{round}"), &order_text)
        });
        let acts = offers
            .iter()
            .map(|offer| -> Act<'_, RegistrationOutcome> { Box::new(move || register(ledger, offer, 1).outcome) });
        let said = at_once(acts.collect());
        let winner = said.iter().position(|outcome| *outcome == RegistrationOutcome::Registered).expect("one of them");
        assert_eq!(said[1 - winner], RegistrationOutcome::OrderConflict);
        let history = order(ledger, &order_text);
        assert_eq!((history.order.price, history.payments.len()), (offers[winner].price, 1));
    }
}

pub fn a_reader_never_sees_half_of_a_settlement(ledger: &Arc<dyn Store>) {
    for round in 0..ROUNDS {
        let (id, order_text) = (format!("p{round}"), format!("o{round}"));
        register(ledger, &registration(&id, &order_text), 0);
        let settles = || drop(settle(ledger, &[completion(&id, &order_text)], 1));
        let reads = || {
            let mut completed = false;
            while !completed {
                let history = payment(ledger, &id);
                completed = history.payment.payment.status == PaymentStatus::Completed;
                assert_eq!(history.order.status == OrderStatus::Paid, completed);
                assert_eq!(history.deliveries.len(), usize::from(completed));
                let of_order = order(ledger, &order_text);
                let paid = of_order.order.status == OrderStatus::Paid;
                assert_eq!(of_order.payments[0].payment.status == PaymentStatus::Completed, paid);
            }
        };
        at_once(vec![Box::new(reads) as Act<'_, ()>, Box::new(settles)]);
    }
}

/// Lets `act` happen beside what is being decided, and waits a little: for its end, if it need not wait for ours.
fn meanwhile<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    act: impl FnOnce() -> T + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, T> {
    let (done, ended) = channel();
    let thread = scope.spawn(move || {
        let result = act();
        let _ = done.send(());
        result
    });
    let _ = ended.recv_timeout(Duration::from_millis(30));
    thread
}

pub fn an_order_that_is_found_as_it_comes_to_be_is_cancelled_or_paid_but_not_both(ledger: &Arc<dyn Store>) {
    for round in 0..ROUNDS {
        let (id, order_text) = (format!("p{round}"), format!("o{round}"));
        let registration = registration(&id, &order_text);
        let order_id = order_id(&order_text);
        thread::scope(|scope| {
            scope.spawn(|| register(ledger, &registration, 0));
            let (cancelled, completing) = loop {
                let found = ledger.amend(&Scope::of_order(&order_id), |books| {
                    books.order(&order_id)?;
                    let completing = meanwhile(scope, || settle(ledger, &[completion(&id, &order_text)], 1));
                    Some((books.cancel(&order_id, at(1)), completing))
                });
                if let Some(found) = found.expect("a ledger that cancels") {
                    break found;
                }
            };
            assert_eq!(cancelled, Cancellation::Cancelled);
            let said = completing.join().expect("a completion");
            assert_eq!(said, [Outcome::Unapplied(UnappliedReason::OrderCancelled)]);
        });
        assert_eq!(order(ledger, &order_text).order.status, OrderStatus::Cancelled);
    }
}

pub fn what_is_decided_beside_a_stranger_overwrites_nothing(ledger: &Arc<dyn Store>) {
    register(ledger, &registration("p", "o"), 0);
    let failed = notification("p", "o", Report::Reached(PaymentStatus::Failed));
    let scope = Scope::of_notifications([&failed, &completion("stranger", "nobody's")]);
    thread::scope(|threads| {
        let decided = ledger.amend(&scope, |books| {
            let completing = meanwhile(threads, || settle(ledger, &[completion("p", "o")], 1));
            books.settle(&failed, provenance(at(1)));
            completing
        });
        decided.expect("a ledger that settles").join().expect("a completion");
    });
    assert_eq!(payment(ledger, "p").payment.payment.status, PaymentStatus::Completed);
    assert_eq!(order(ledger, "o").order.status, OrderStatus::Paid);
}
