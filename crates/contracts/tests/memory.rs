//! The ledger in memory keeps the contract.

use std::sync::Arc;

use contracts::MemoryLedger;
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
