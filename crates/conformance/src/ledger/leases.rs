//! Leases: one holder at a time.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use ports::Store;
use uuid::Uuid;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

const A: Uuid = Uuid::from_u128(0xa);
const B: Uuid = Uuid::from_u128(0xb);

fn acquire(ledger: &Arc<dyn Store>, name: &str, holder: Uuid, duration: Duration) -> bool {
    ledger.acquire(name, holder, duration).expect("a store that leases")
}

fn release(ledger: &Arc<dyn Store>, name: &str, holder: Uuid) {
    ledger.release(name, holder).expect("a store that releases");
}

/// Waits until a lease of `duration` that is held already has ended.
fn wait_for_the_end(duration: Duration) {
    thread::sleep(duration + Duration::from_millis(20));
}

pub fn of_two_holders_one_has_the_lease(ledger: &Arc<dyn Store>) {
    assert!(acquire(ledger, "work", A, LONG));
    assert!(!acquire(ledger, "work", B, LONG));
    assert!(!acquire(ledger, "work", B, Duration::ZERO), "not for a moment either");
    assert!(acquire(ledger, "work", A, LONG), "its holder still has it");
}

pub fn a_lease_past_its_end_is_free(ledger: &Arc<dyn Store>) {
    let short = Duration::from_millis(30);
    assert!(acquire(ledger, "work", A, short));
    wait_for_the_end(short);
    assert!(acquire(ledger, "work", B, LONG));
    assert!(!acquire(ledger, "work", A, LONG), "its former holder is one of the others now");
}

pub fn a_renewed_lease_ends_as_its_renewal_says(ledger: &Arc<dyn Store>) {
    let short = Duration::from_millis(30);
    assert!(acquire(ledger, "longer", A, short));
    assert!(acquire(ledger, "longer", A, LONG));
    assert!(acquire(ledger, "shorter", A, LONG));
    assert!(acquire(ledger, "shorter", A, short));
    wait_for_the_end(short);
    assert!(!acquire(ledger, "longer", B, LONG));
    assert!(acquire(ledger, "shorter", B, LONG));
}

pub fn a_released_lease_is_free(ledger: &Arc<dyn Store>) {
    assert!(acquire(ledger, "work", A, LONG));
    release(ledger, "work", A);
    assert!(acquire(ledger, "work", B, LONG));
}

pub fn a_release_by_another_changes_nothing(ledger: &Arc<dyn Store>) {
    release(ledger, "work", A);
    assert!(acquire(ledger, "work", A, LONG));
    release(ledger, "work", B);
    assert!(!acquire(ledger, "work", B, LONG));
    assert!(acquire(ledger, "work", A, LONG));
}

pub fn leases_of_different_names_are_independent(ledger: &Arc<dyn Store>) {
    assert!(acquire(ledger, "work", A, LONG));
    assert!(acquire(ledger, "other work", B, LONG));
    release(ledger, "other work", A);
    release(ledger, "work", A);
    assert!(!acquire(ledger, "other work", A, LONG));
}

pub fn of_many_holders_at_once_one_gets_the_lease(ledger: &Arc<dyn Store>) {
    for round in 0..20 {
        assert_eq!(granted_at_once(&[Arc::clone(ledger), Arc::clone(ledger)], &round.to_string()), 1, "round {round}");
    }
}

/// How many of four holders at each of these stores get the lease of this name when all ask at once.
pub(crate) fn granted_at_once(stores: &[Arc<dyn Store>], name: &str) -> usize {
    let holders: Vec<_> = stores.iter().cycle().zip(1..).take(4 * stores.len()).collect();
    let start = Barrier::new(holders.len());
    thread::scope(|scope| {
        let ask = |(store, holder): (&Arc<dyn Store>, u128)| {
            let (store, start) = (Arc::clone(store), &start);
            scope.spawn(move || {
                start.wait();
                acquire(&store, name, Uuid::from_u128(holder), LONG)
            })
        };
        let threads: Vec<_> = holders.into_iter().map(ask).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).filter(|granted| *granted).count()
    })
}
