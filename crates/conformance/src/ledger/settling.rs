//! Settling: a batch is the normal case, and all of it is stored or nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use domain::{
    Books, Cancellation, Mismatch, Notification, OrderStatus, Outcome, PaymentMethod, PaymentStatus,
    RegistrationOutcome, Report, Source, UnappliedReason,
};
use ports::{LedgerError, LedgerExt as _, Scope, Store};
use strum::VariantArray as _;
use usecases::{Caller, ReplayError};

use crate::fixtures::{
    any, at, cancel, completion, count, deliveries, money, note_invalid, notification, order, order_id, outcomes,
    partial_refund, payment, payment_id, provenance, register, registration, settle, settle_as, transaction_id,
    try_settle, use_cases,
};

pub fn a_batch_settles_many_payments_at_once(ledger: &Arc<dyn Store>) {
    let ids: Vec<(String, String)> = (0..64).map(|n| (format!("payment-{n}"), format!("order-{n}"))).collect();
    for ((payment, order), method) in ids.iter().zip(PaymentMethod::VARIANTS.iter().cycle()) {
        register(ledger, &domain::Registration { method: *method, ..registration(payment, order) }, 0);
    }
    let batch: Vec<_> = ids.iter().rev().map(|(payment, order)| completion(payment, order)).collect();
    assert_eq!(settle(ledger, &batch, 1), vec![Outcome::Completed; 64]);
    for (payment_text, order_text) in &ids {
        let history = payment(ledger, payment_text);
        assert_eq!(history.payment.payment.status, PaymentStatus::Completed);
        assert_eq!(history.deliveries.len(), 1);
        let order = order(ledger, order_text).order;
        assert_eq!((order.status, order.paid_by), (OrderStatus::Paid, Some(payment_id(payment_text))));
    }
}

pub fn a_batch_may_repeat_a_payment(ledger: &Arc<dyn Store>) {
    register(ledger, &registration("p", "o"), 0);
    let reached = |status| notification("p", "o", Report::Reached(status));
    let mut batch = vec![reached(PaymentStatus::Processing), reached(PaymentStatus::Failed)];
    batch.extend(vec![completion("p", "o"); 60]);
    batch.extend([reached(PaymentStatus::Cancelled), reached(PaymentStatus::Refunded)]);
    let mut expected = vec![Outcome::Processing, Outcome::Failed, Outcome::Completed];
    expected.extend(vec![Outcome::Duplicate; 59]);
    expected.extend([Outcome::Ignored, Outcome::Refunded]);
    assert_eq!(settle(ledger, &batch, 1), expected);

    let history = payment(ledger, "p");
    assert_eq!(history.payment.payment.status, PaymentStatus::Refunded);
    assert_eq!((history.order.status, history.order.paid_by), (OrderStatus::Refunded, Some(payment_id("p"))));
    let mut stored: Vec<_> = history.deliveries.into_iter().map(|delivery| delivery.outcome).collect();
    stored.reverse();
    assert_eq!(stored, expected);
}

pub fn a_batch_may_hold_what_settles_what_parks_and_what_contradicts(ledger: &Arc<dyn Store>) {
    register(ledger, &registration("p", "o"), 0);
    register(ledger, &registration("q", "another"), 0);
    let batch = [completion("unknown", "o"), completion("p", "another"), completion("p", "o"), completion("q", "none")];
    let mismatch = Outcome::Rejected(Mismatch::OrderMismatch);
    assert_eq!(settle(ledger, &batch, 1), [Outcome::Parked, mismatch.clone(), Outcome::Completed, mismatch]);
    assert_eq!(payment(ledger, "q").payment.payment.status, PaymentStatus::Pending);
    assert_eq!(order(ledger, "another").order.status, OrderStatus::Pending);
    assert_eq!(order(ledger, "o").order.paid_by, Some(payment_id("p")));
}

pub fn of_two_payments_in_a_batch_one_pays_their_order(ledger: &Arc<dyn Store>) {
    register(ledger, &registration("p", "o"), 0);
    register(ledger, &registration("q", "o"), 0);
    let batch = [completion("q", "o"), completion("p", "o")];
    assert_eq!(settle(ledger, &batch, 1), [Outcome::Completed, Outcome::Unapplied(UnappliedReason::OrderPaid)]);
    let history = order(ledger, "o");
    assert_eq!(history.order.paid_by, Some(payment_id("q")));
    let completed = |recorded: &ports::RecordedPayment| recorded.payment.status == PaymentStatus::Completed;
    assert!(history.payments.iter().all(completed), "the money that came twice is recorded twice");
}

pub fn a_contradiction_changes_nothing(ledger: &Arc<dyn Store>) {
    register(ledger, &registration("p", "o"), 0);
    let before = payment(ledger, "p");
    let contradictions = [
        completion("p", "no such order"),
        Notification { amount: Some("28".parse().expect("a valid amount")), ..completion("p", "o") },
        Notification { currency: Some(money("1", "CZK").currency()), ..completion("p", "o") },
    ];
    settle(ledger, &contradictions, 1);
    let after = payment(ledger, "p");
    assert_eq!((after.payment, after.order), (before.payment, before.order));
    assert_eq!(after.deliveries.len(), 3);
}

pub fn a_partial_refund_is_known_again_by_its_time(ledger: &Arc<dyn Store>) {
    for id in ["p", "q"] {
        register(ledger, &registration(id, id), 0);
    }
    settle(ledger, &[completion("p", "p"), completion("q", "q")], 1);
    let (once, again) = (Outcome::PartiallyRefunded, Outcome::Duplicate);
    let batch = [partial_refund("p", "p", 5), partial_refund("p", "p", 5), partial_refund("p", "p", 6)];
    assert_eq!(settle(ledger, &batch, 2), [once.clone(), again.clone(), once.clone()]);
    let batch = [partial_refund("p", "p", 6), partial_refund("q", "q", 6), partial_refund("q", "q", 5)];
    assert_eq!(settle(ledger, &batch, 3), [again.clone(), once.clone(), once]);
    assert_eq!(settle(ledger, &[partial_refund("q", "q", 5)], 4), [again]);
    assert_eq!(payment(ledger, "p").payment.payment.status, PaymentStatus::Completed);
    assert_eq!(order(ledger, "p").order.status, OrderStatus::Paid);
}

pub fn partial_refunds_of_one_moment_are_told_apart_by_their_transactions(ledger: &Arc<dyn Store>) {
    register(ledger, &registration("p", "o"), 0);
    settle(ledger, &[completion("p", "o")], 1);
    let of = |transaction: Option<&str>| Notification {
        transaction_id: transaction.map(transaction_id),
        ..partial_refund("p", "o", 5)
    };
    let (once, again) = (Outcome::PartiallyRefunded, Outcome::Duplicate);
    let batch = [of(Some("t1")), of(Some("t2")), of(Some("t1"))];
    assert_eq!(settle(ledger, &batch, 2), [once.clone(), once.clone(), again.clone()]);
    let batch = [of(Some("t2")), of(None), of(Some("t3")), of(None)];
    assert_eq!(settle(ledger, &batch, 3), [again.clone(), once.clone(), once, again.clone()]);
    assert_eq!(settle(ledger, &[of(None), of(Some("t3"))], 4), [again.clone(), again]);
}

pub fn a_partial_refund_completes_what_was_not_completed(ledger: &Arc<dyn Store>) {
    register(ledger, &registration("p", "o"), 0);
    assert_eq!(settle(ledger, &[partial_refund("p", "o", 5)], 1), [Outcome::PartiallyRefunded]);
    assert_eq!(order(ledger, "o").order.paid_by, Some(payment_id("p")));
    let later = [partial_refund("p", "o", 5), completion("p", "o")];
    assert_eq!(settle(ledger, &later, 2), [Outcome::Duplicate, Outcome::Duplicate]);
}

pub fn a_cancelled_order_is_not_paid(ledger: &Arc<dyn Store>) {
    register(ledger, &registration("p", "o"), 0);
    let cancel = |second| cancel(ledger, "o", second);
    assert_eq!((cancel(1), cancel(2)), (Cancellation::Cancelled, Cancellation::Cancelled));
    let cancelled = order(ledger, "o").order;
    assert_eq!((cancelled.status, cancelled.updated_at), (OrderStatus::Cancelled, at(1)));
    assert_eq!(settle(ledger, &[completion("p", "o")], 3), [Outcome::Unapplied(UnappliedReason::OrderCancelled)]);
    assert_eq!(order(ledger, "o").order, cancelled);
    assert_eq!(payment(ledger, "p").payment.payment.paid_at, Some(at(3)));
}

pub fn a_paid_order_and_an_unknown_one_are_not_cancelled(ledger: &Arc<dyn Store>) {
    register(ledger, &registration("p", "o"), 0);
    settle(ledger, &[completion("p", "o")], 1);
    let cancel = |id| cancel(ledger, id, 2);
    assert_eq!((cancel("o"), cancel("unknown")), (Cancellation::Paid, Cancellation::Unknown));
    assert_eq!(order(ledger, "o").order.status, OrderStatus::Paid);
    assert_eq!(ledger.order(&order_id("unknown")).expect("a ledger that reads"), None);
}

pub fn a_registration_that_says_otherwise_changes_nothing(ledger: &Arc<dyn Store>) {
    let original = registration("p", "o");
    register(ledger, &original, 0);
    let before = payment(ledger, "p");
    let otherwise = [
        (original.clone(), RegistrationOutcome::Exists),
        (registration("p", "another"), RegistrationOutcome::PaymentConflict),
        (domain::Registration { method: PaymentMethod::Card, ..original }, RegistrationOutcome::PaymentConflict),
        (
            domain::Registration { price: money("30", "EUR"), ..registration("q", "o") },
            RegistrationOutcome::OrderConflict,
        ),
    ];
    for (registration, expected) in otherwise {
        assert_eq!(register(ledger, &registration, 1).outcome, expected);
    }
    assert_eq!(payment(ledger, "p"), before);
    assert_eq!(order(ledger, "o").payments.len(), 1);
    assert_eq!(ledger.payment(&payment_id("q")).expect("a ledger that reads"), None);
    assert_eq!(ledger.order(&order_id("another")).expect("a ledger that reads"), None);
}

pub fn what_a_panic_interrupts_is_not_stored(ledger: &Arc<dyn Store>) {
    register(ledger, &registration("p", "o"), 0);
    let before = payment(ledger, "p");
    let completed = completion("p", "o");
    // More often than a pool has connections: each one must be given back.
    for _ in 0..12 {
        let panics = |books: &mut Books| {
            books.settle(&completed, provenance(at(1)));
            std::panic::resume_unwind(Box::new("interrupted"))
        };
        let interrupted =
            catch_unwind(AssertUnwindSafe(|| ledger.amend::<()>(&Scope::of_notifications([&completed]), panics)));
        assert!(interrupted.is_err(), "the panic comes through");
    }
    assert_eq!(payment(ledger, "p"), before);
    assert_eq!(settle(ledger, &[completed], 2), [Outcome::Completed], "the ledger works on");
}

pub fn what_cannot_be_stored_in_full_is_not_stored_at_all(ledger: &Arc<dyn Store>) {
    for id in ["p", "q"] {
        register(ledger, &registration(id, id), 0);
    }
    let used = provenance(at(1));
    settle_as(ledger, &[(completion("unknown", "o"), used.clone())]).expect("a ledger that settles");
    let before = [payment(ledger, "p"), payment(ledger, "q")];

    // An entry's id can't be given twice.
    let batch = [(completion("p", "p"), provenance(at(2))), (completion("q", "q"), used)];
    assert!(matches!(settle_as(ledger, &batch), Err(LedgerError::Refused(_))));
    assert_eq!([payment(ledger, "p"), payment(ledger, "q")], before);
    assert_eq!(deliveries(ledger, &any()).len(), 1);
    let batch = [completion("p", "p"), completion("q", "q")];
    assert_eq!(settle(ledger, &batch, 3), vec![Outcome::Completed; 2], "the ledger works on");
}

pub fn what_is_discarded_is_not_stored(ledger: &Arc<dyn Store>) {
    register(ledger, &registration("p", "o"), 0);
    let before = payment(ledger, "p");
    let completed = completion("p", "o");
    let tried = ledger.amend(&Scope::of_notifications([&completed]), |books| {
        let settlement = books.settle(&completed, provenance(at(1)));
        books.discard();
        settlement.delivery.outcome
    });
    assert_eq!(tried.expect("a ledger that tries"), Outcome::Completed);
    assert_eq!(payment(ledger, "p"), before);
}

pub fn a_replay_goes_through_the_same_rule(ledger: &Arc<dyn Store>) {
    let said = provenance(at(1));
    settle_as(ledger, &[(completion("p", "o"), said.clone())]).expect("a ledger that settles");
    let replay = |second, dry_run| {
        use_cases(ledger, at(second))
            .replay_delivery(said.delivery_id, dry_run, &Caller::default())
            .expect("a delivery that can be replayed")
    };
    assert_eq!(replay(2, true).settlement.delivery.outcome, Outcome::Parked);
    assert_eq!(deliveries(ledger, &any()).len(), 1, "a dry run leaves no entry");
    register(ledger, &registration("q", "o"), 3);
    register(ledger, &registration("p", "o"), 4);
    assert_eq!(payment(ledger, "p").payment.payment.status, PaymentStatus::Completed);

    let dry = replay(5, true);
    assert_eq!(dry.settlement.delivery.outcome, Outcome::Duplicate);
    let real = replay(6, false);
    assert_eq!(real.settlement.delivery.outcome, Outcome::Duplicate);
    let history = payment(ledger, "p").deliveries;
    let sources: Vec<_> = history.iter().map(|delivery| delivery.provenance.source).collect();
    assert_eq!(sources, [Source::Replay, Source::Parked, Source::Callback]);
}

pub fn an_invalid_or_unknown_delivery_is_not_replayed(ledger: &Arc<dyn Store>) {
    let (noted, unknown) = (provenance(at(1)), provenance(at(1)));
    note_invalid(ledger, &completion("p", "o").into(), "status: ?", &noted);
    let replay = |id| use_cases(ledger, at(2)).replay_delivery(id, false, &Caller::default());
    assert!(matches!(replay(noted.delivery_id), Err(ReplayError::NotReplayable)));
    assert!(matches!(replay(unknown.delivery_id), Err(ReplayError::NotFound)));
}

pub fn nothing_to_settle_is_nothing_to_store(ledger: &Arc<dyn Store>) {
    assert_eq!(try_settle(ledger, &[], 1).expect("a ledger that settles"), []);
    assert_eq!(deliveries(ledger, &any()), []);
}

/// Whatever happens, a ledger reads like the one in memory to which the same happened.
pub fn any_history_reads_like_the_one_in_memory(ledger: &Arc<dyn Store>) {
    let model: Arc<dyn Store> = Arc::new(crate::MemoryStore::default());
    let mut seed = 1_u64;
    let mut random = |below: u64| {
        // Knuth's MMIX generator: any sequence will do, but always the same.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let payments: Vec<String> = (0..8).map(|n| format!("p{n}")).collect();
    let order_of = |payment: u64| format!("o{}", payment / 3);
    let reports: Vec<Report> = PaymentStatus::VARIANTS.iter().copied().map(Report::Reached).collect();
    for second in 1..=150 {
        let target = random(8);
        let (payment, order) = (&payments[usize::try_from(target).expect("a small number")], order_of(target));
        match random(8) {
            0 => {
                let amount = if random(4) == 0 { "30" } else { "29" };
                let method = PaymentMethod::VARIANTS[usize::try_from(target).expect("a small number")];
                let registration =
                    domain::Registration { price: money(amount, "EUR"), method, ..registration(payment, &order) };
                let [expected, actual] = [&model, ledger].map(|ledger| register(ledger, &registration, second));
                assert_eq!(actual.outcome, expected.outcome);
                assert_eq!(outcomes(&actual.applied), outcomes(&expected.applied));
            }
            1 if second > 50 => {
                let cancel = |ledger: &Arc<dyn Store>| cancel(ledger, &order, second);
                assert_eq!(cancel(ledger), cancel(&model));
            }
            _ => {
                let batch: Vec<_> = (0..=random(7))
                    .map(|_| {
                        let target = random(8);
                        let payment = &payments[usize::try_from(target).expect("a small number")];
                        let order = if random(9) == 0 { "o9".to_owned() } else { order_of(target) };
                        let sent_at_second = i64::try_from(random(3)).expect("a small number");
                        let report = usize::try_from(random(9)).ok().and_then(|index| reports.get(index).copied());
                        let said = partial_refund(payment, &order, sent_at_second);
                        let said = Notification { report: report.unwrap_or(Report::PartialRefund), ..said };
                        (said, provenance(at(second)))
                    })
                    .collect();
                let [expected, actual] =
                    [&model, ledger].map(|ledger| settle_as(ledger, &batch).expect("a ledger that settles"));
                assert_eq!(actual, expected);
            }
        }
    }
    // Those applied at a registration have ids of their own in each ledger.
    let comparable = |ledger: &Arc<dyn Store>| {
        let mut entries: Vec<_> = deliveries(ledger, &any());
        entries.iter_mut().filter(|entry| entry.provenance.source == Source::Parked).for_each(|entry| {
            entry.provenance.delivery_id = domain::DeliveryId::first_at(at(0));
        });
        let (applied, received): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.provenance.source == Source::Parked);
        [received, applied].concat()
    };
    assert!(comparable(&model).len() < 1000, "all of them are compared");
    assert_eq!(comparable(ledger), comparable(&model));
    for n in 0..9 {
        let both = [ledger, &model].map(|ledger| {
            let history = ledger.payment(&payment_id(&format!("p{n}"))).expect("a ledger that reads");
            history.map(|history| (history.payment, history.order, history.deliveries.len()))
        });
        assert_eq!(both[0], both[1]);
        let orders =
            [ledger, &model].map(|ledger| ledger.order(&order_id(&format!("o{n}"))).expect("a ledger that reads"));
        assert_eq!(orders[0], orders[1]);
    }
    assert!(count(comparable(&model).iter().map(|entry| &entry.outcome), &Outcome::Completed) > 0);
}
