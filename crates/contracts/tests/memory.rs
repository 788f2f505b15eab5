//! The ledger in memory keeps the contract.

use std::sync::Arc;

use contracts::MemoryLedger;
use contracts::ledger::serializing::{check_serializability, event_words};
use ports::Ledger;

fn fresh_ledger() -> (Arc<dyn Ledger>, ()) {
    (Arc::new(MemoryLedger::default()), ())
}

fn shared_ledger() -> (Arc<dyn Ledger>, Arc<dyn Ledger>, ()) {
    let (ledger, ()) = fresh_ledger();
    (Arc::clone(&ledger), ledger, ())
}

contracts::ledger_contract!(fresh_ledger);
contracts::shared_ledger_contract!(shared_ledger);

#[test]
fn whatever_happens_at_once_equals_some_order_of_it() {
    let ledger = Arc::new(MemoryLedger::default());
    let events = || ledger.events().iter().map(event_words).collect();
    check_serializability(&[Arc::clone(&ledger) as Arc<dyn Ledger>], &events);
}
