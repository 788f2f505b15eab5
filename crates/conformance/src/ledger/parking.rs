//! A notification that comes before its payment is registered waits for it.

use std::sync::Arc;

use domain::{
    Content, Mismatch, Notification, OrderStatus, Outcome, PaymentStatus, RegistrationOutcome, Report, RequestId,
    Source,
};
use ports::Store;
use usecases::Caller;

use crate::fixtures::{
    any, at, completion, deliveries, money, notification, order, outcomes, partial_refund, payment, payment_id,
    provenance, register, registration, settle, settle_as, transaction_id, use_cases,
};

pub fn what_waits_is_applied_in_the_order_of_its_parking_and_once(ledger: &Arc<dyn Store>) {
    let reached = |status| notification("p", "o", Report::Reached(status));
    let of_first_batch = [reached(PaymentStatus::Processing), reached(PaymentStatus::Failed)];
    assert_eq!(settle(ledger, &of_first_batch, 2), vec![Outcome::Parked; 2]);
    assert_eq!(settle(ledger, &[partial_refund("p", "o", 1)], 3), [Outcome::Parked]);
    assert_eq!(settle(ledger, &[completion("p", "o"), reached(PaymentStatus::Refunded)], 4), vec![Outcome::Parked; 2]);
    // Its id says that it was parked first, though it was stored last.
    assert_eq!(settle(ledger, &[reached(PaymentStatus::Pending)], 1), [Outcome::Parked]);

    let registered = register(ledger, &registration("p", "o"), 5);
    assert_eq!(registered.outcome, RegistrationOutcome::Registered);
    let expected = [
        Outcome::Duplicate,
        Outcome::Processing,
        Outcome::Failed,
        Outcome::PartiallyRefunded,
        Outcome::Duplicate,
        Outcome::Refunded,
    ];
    assert_eq!(outcomes(&registered.applied), expected);
    assert_eq!(order(ledger, "o").order.status, OrderStatus::Refunded);

    let again = register(ledger, &registration("p", "o"), 6);
    assert_eq!(again.outcome, RegistrationOutcome::Exists);
    assert_eq!(outcomes(&again.applied), []);
    assert_eq!(payment(ledger, "p").deliveries.len(), 12, "each stands there as it came and as it was applied");
}

pub fn what_is_applied_leaves_an_entry_of_its_own(ledger: &Arc<dyn Store>) {
    let said = Notification { transaction_id: Some(transaction_id("t")), ..completion("p", "o") };
    let received = provenance(at(1));
    let parked = settle_as(ledger, &[(said, received.clone())]).expect("a ledger that settles");
    let caller = Caller { key_name: None, request_id: RequestId::parse("registering") };
    let registered =
        use_cases(ledger, at(2)).register_payment(&registration("p", "o"), &caller).expect("a ledger that registers");

    let history = payment(ledger, "p");
    let [applied, original] = history.deliveries.as_slice() else { panic!("two entries") };
    assert_eq!(*original, parked[0].delivery);
    assert_eq!(*applied, registered.applied[0].delivery);
    assert_eq!((applied.provenance.source, applied.provenance.received_at), (Source::Parked, at(2)));
    assert_eq!(
        (applied.previous_status, applied.new_status),
        (Some(PaymentStatus::Pending), Some(PaymentStatus::Completed))
    );
    assert_eq!(applied.content, original.content);
    assert_eq!(history.payment.payment.transaction_id, Some(transaction_id("t")));
    assert_eq!((history.order.status, history.order.paid_by), (OrderStatus::Paid, Some(payment_id("p"))));
}

pub fn the_same_notification_waits_once(ledger: &Arc<dyn Store>) {
    let again = |second| Notification { sent_at: at(second), ..completion("p", "o") };
    assert_eq!(settle(ledger, &[again(1), again(2), completion("q", "o"), again(3)], 4), vec![Outcome::Parked; 4]);
    let refund = partial_refund("p", "o", 1);
    assert_eq!(settle(ledger, &[again(4), refund.clone(), refund], 5), vec![Outcome::Parked; 3]);
    assert_eq!(ledger.stats().expect("a ledger that reads").parked_notifications, 3);
    assert_eq!(deliveries(ledger, &any()).len(), 7, "each left its entry");

    let applied = register(ledger, &registration("p", "o"), 6).applied;
    assert_eq!(outcomes(&applied), [Outcome::Completed, Outcome::PartiallyRefunded]);
    assert_eq!(applied[0].delivery.content, Content::Notification(again(1)), "the first one counts");
    assert_eq!(outcomes(&register(ledger, &registration("p", "o"), 7).applied), []);
}

pub fn what_differs_in_what_it_says_waits_beside(ledger: &Arc<dyn Store>) {
    let amount = |text: &str| Notification { amount: Some(text.parse().expect("an amount")), ..completion("p", "o") };
    let said = [
        completion("p", "o"),
        completion("p", "another order"),
        amount("29"),
        amount("30"),
        notification("p", "o", Report::Reached(PaymentStatus::Failed)),
        partial_refund("p", "o", 1),
        partial_refund("p", "o", 2),
        Notification { transaction_id: Some(transaction_id("t")), ..partial_refund("p", "o", 3) },
    ];
    settle(ledger, &said, 1);
    settle(ledger, &[amount("29.00"), amount("30.0")], 2);
    let applied = register(ledger, &registration("p", "o"), 3).applied;
    let contents: Vec<_> = applied.into_iter().map(|settlement| settlement.delivery.content).collect();
    assert_eq!(contents, said.map(Content::Notification));
}

pub fn what_waits_for_another_payment_goes_on_waiting(ledger: &Arc<dyn Store>) {
    settle(ledger, &[completion("p", "o"), completion("q", "o"), completion("p ", "o")], 1);
    assert_eq!(outcomes(&register(ledger, &registration("p", "o"), 2).applied), [Outcome::Completed]);
    let late = register(ledger, &registration("q", "o"), 3);
    assert_eq!(outcomes(&late.applied), [Outcome::Unapplied(domain::UnappliedReason::OrderPaid)]);
}

pub fn a_registration_that_is_refused_leaves_everything_waiting(ledger: &Arc<dyn Store>) {
    register(ledger, &registration("first", "o"), 0);
    settle(ledger, &[completion("p", "o")], 1);
    let dearer = domain::Registration { price: money("30", "EUR"), ..registration("p", "o") };
    let refused = register(ledger, &dearer, 2);
    assert_eq!((refused.outcome, refused.applied.len()), (RegistrationOutcome::OrderConflict, 0));
    assert_eq!(outcomes(&register(ledger, &registration("p", "o"), 3).applied), [Outcome::Completed]);
}

pub fn what_contradicts_its_registration_is_rejected_when_it_is_applied(ledger: &Arc<dyn Store>) {
    let cheap = Notification { amount: Some("1".parse().expect("a valid amount")), ..completion("p", "o") };
    settle(ledger, &[completion("p", "another order"), cheap, completion("p", "o")], 1);
    let registered = register(ledger, &registration("p", "o"), 2);
    let expected =
        [Outcome::Rejected(Mismatch::OrderMismatch), Outcome::Rejected(Mismatch::AmountMismatch), Outcome::Completed];
    assert_eq!(outcomes(&registered.applied), expected);
}
