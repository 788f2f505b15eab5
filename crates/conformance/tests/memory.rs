//! The ledger in memory keeps the contract.

use std::sync::Arc;

use conformance::MemoryStore;
use conformance::ledger::serializing::{check_serializability, event_words};
use ports::Store;

fn fresh_ledger() -> (Arc<dyn Store>, ()) {
    (Arc::new(MemoryStore::default()), ())
}

fn shared_ledger() -> (Arc<dyn Store>, Arc<dyn Store>, ()) {
    let (ledger, ()) = fresh_ledger();
    (Arc::clone(&ledger), ledger, ())
}

conformance::ledger_conformance!(fresh_ledger);
conformance::shared_ledger_conformance!(shared_ledger);

#[test]
fn whatever_happens_at_once_equals_some_order_of_it() {
    let ledger = Arc::new(MemoryStore::default());
    let events = || ledger.events_in_order().iter().map(event_words).collect();
    check_serializability(&[Arc::clone(&ledger) as Arc<dyn Store>], &events);
}
