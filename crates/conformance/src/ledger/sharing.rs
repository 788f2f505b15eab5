//! Two ledgers over one store, as two replicas have them.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use domain::{OrderStatus, Outcome, PaymentStatus, RegistrationOutcome};
use ports::Store;
use usecases::{GroupCommit, GroupCommitLimits};
use uuid::Uuid;

use super::committing::submit_all;
use super::leases::granted_at_once;
use super::outbox::{claimed_at_once, sent_in_order};
use crate::fixtures::{
    at, callback, completion, count, order, outcomes, payment, payment_id, register, registration, settle, use_cases,
};

/// What one replica stored, the other reads and settles.
pub fn replicas_settle_each_other_s_payments(one: &Arc<dyn Store>, other: &Arc<dyn Store>) {
    register(one, &registration("p", "o"), 0);
    assert_eq!(register(other, &registration("p", "o"), 1).outcome, RegistrationOutcome::Exists);
    assert_eq!(settle(other, &[completion("p", "o"), completion("q", "o")], 2), [Outcome::Completed, Outcome::Parked]);
    assert_eq!(settle(one, &[completion("p", "o")], 3), [Outcome::Duplicate]);
    assert_eq!(payment(one, "p"), payment(other, "p"));
    assert_eq!(register(one, &registration("q", "o"), 4).applied.len(), 1);
    assert_eq!(order(other, "o").payments.len(), 2);
}

/// However a completion's repetitions are spread over the replicas, one counts.
pub fn of_identical_completions_on_two_replicas_one_counts(one: &Arc<dyn Store>, other: &Arc<dyn Store>) {
    register(one, &registration("p", "o"), 0);
    let limits = GroupCommitLimits { queue_max: 64, batch_max: 8, committers: 2, patience: Duration::from_secs(3) };
    let start = |ledger| Arc::new(GroupCommit::start(&use_cases(ledger, at(1)), limits).expect("threads"));
    let intakes = [start(one), start(other)];
    let identical = (0..64).map(|_| callback(completion("p", "o"), 1)).collect();
    let settled = submit_all(&intakes, identical).into_iter().collect::<Result<Vec<_>, _>>();
    let said = outcomes(&settled.expect("callbacks that are settled"));
    intakes.iter().for_each(|intake| intake.finish());
    assert_eq!((count(&said, &Outcome::Completed), count(&said, &Outcome::Duplicate)), (1, 63));
    let history = payment(other, "p");
    assert_eq!((history.order.status, history.order.paid_by), (OrderStatus::Paid, Some(payment_id("p"))));
    assert_eq!(history.deliveries.len(), 64);
}

/// A notification at one replica and its registration at the other do not miss each other.
pub fn a_notification_that_races_its_registration_elsewhere_is_never_lost(
    one: &Arc<dyn Store>,
    other: &Arc<dyn Store>,
) {
    for round in 0..60 {
        let (id, order_text) = (format!("p{round}"), format!("o{round}"));
        let start = Barrier::new(2);
        let (said, applied) = thread::scope(|scope| {
            let said = scope.spawn(|| {
                start.wait();
                settle(one, &[completion(&id, &order_text)], 1)
            });
            start.wait();
            let applied = outcomes(&register(other, &registration(&id, &order_text), 2).applied);
            (said.join().expect("a settling without a panic"), applied)
        });
        assert_eq!(count(said.iter().chain(&applied), &Outcome::Completed), 1);
        assert_eq!(payment(one, &id).payment.payment.status, PaymentStatus::Completed);
        assert_eq!(outcomes(&register(one, &registration(&id, &order_text), 3).applied), []);
    }
}

/// What one replica has leased, the other does not get before it is given up; of both at once, one gets it.
pub fn replicas_share_leases_and_one_has_each(one: &Arc<dyn Store>, other: &Arc<dyn Store>) {
    let (a, b, long) = (Uuid::from_u128(1), Uuid::from_u128(2), Duration::from_secs(600));
    assert!(one.acquire("work", a, long).expect("a store that leases"));
    assert!(!other.acquire("work", b, long).expect("a store that leases"));
    one.release("work", a).expect("a store that releases");
    assert!(other.acquire("work", b, long).expect("a store that leases"));
    for round in 0..20 {
        let granted = granted_at_once(&[Arc::clone(one), Arc::clone(other)], &format!("round {round}"));
        assert_eq!(granted, 1, "round {round}");
    }
}

/// However many claim, each queue goes to one.
pub fn replicas_share_the_events_to_send(one: &Arc<dyn Store>, other: &Arc<dyn Store>) {
    claimed_at_once(&[Arc::clone(one), Arc::clone(other)]);
}

/// Two settle and two send, at both of them.
pub fn replicas_send_the_events_of_an_order_one_after_the_other(one: &Arc<dyn Store>, other: &Arc<dyn Store>) {
    sent_in_order(&[Arc::clone(one), Arc::clone(other)]);
}
