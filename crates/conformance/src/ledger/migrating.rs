//! Ledgers whose database is changed for a new version of the program.

use std::sync::Arc;

use domain::{Notification, Outcome, OutcomeKind, PaymentMethod, Registration};
use ports::{DeliveryFilter, Store};
use strum::VariantArray as _;

use crate::fixtures::{
    any, completion, deliveries, order, partial_refund, payment_id, register, registration, settle, transaction_id,
};

/// That migrations, which yield another ledger in the same database, keep what this one holds.
pub fn what_is_stored_outlives(ledger: &Arc<dyn Store>, migrations: impl FnOnce() -> Arc<dyn Store>) {
    settle(ledger, &[completion("p0", "o0"), completion("unknown", "o0")], 1);
    for (n, method) in PaymentMethod::VARIANTS.iter().enumerate() {
        let registration = registration(&format!("p{n}"), &format!("o{}", n / 2));
        register(ledger, &Registration { method: *method, ..registration }, 2);
    }
    let by_transaction = Notification { transaction_id: Some(transaction_id("t")), ..partial_refund("p3", "o1", 2) };
    settle(ledger, &[completion("p3", "o1"), completion("p2", "o1"), partial_refund("p3", "o1", 1)], 3);
    settle(ledger, std::slice::from_ref(&by_transaction), 3);
    let stored = |ledger: &Arc<dyn Store>| {
        let orders = ["o0", "o1", "o2", "o3", "o4"].map(|id| order(ledger, id));
        let trails = ["p0", "p1", "p2", "p3", "unknown"]
            .map(|id| deliveries(ledger, &DeliveryFilter { payment: Some(payment_id(id)), ..any() }));
        (orders, trails, deliveries(ledger, &any()), ledger.stats().expect("a ledger that reads"))
    };
    let before = stored(ledger);
    let ledger = &migrations();
    assert_eq!(stored(ledger), before);
    assert_eq!(
        settle(ledger, &[partial_refund("p3", "o1", 1), by_transaction, completion("p8", "o4")], 4),
        [Outcome::Duplicate, Outcome::Duplicate, Outcome::Completed]
    );
    register(ledger, &registration("unknown", "o0"), 5);
    register(ledger, &registration("new", "o5"), 5);
    assert_eq!(order(ledger, "o0").payments.len(), 3);
    assert_eq!(settle(ledger, &[completion("new", "o5")], 6), [Outcome::Completed]);
}

/// That the partial index on an order's deliveries holds the outcomes that its query asks for, so that the index is
/// used and nothing is missed.
///
/// # Panics
/// If it does not.
pub fn check_order_index(definition: &str) {
    let words: Vec<&str> = definition.split('\'').skip(1).step_by(2).collect();
    let expected: Vec<&str> = OutcomeKind::not_applied().map(Into::into).collect();
    assert_eq!(words, expected, "{definition}");
}
