//! With few payments in the tables and with many.

use std::thread;

use anyhow::anyhow;

use crate::dataset::{Dataset, Store};
use crate::report::Figures;
use crate::testbed::Testbed;
use crate::trial::Trial;

const FEW: u64 = 10_000;
const MANY: u64 = 5_000_000;

/// As many as the smaller one holds, without those that warm up.
const CALLBACKS: u64 = 9_000;

/// The databases of either size.
pub(crate) struct Sizes {
    store: Store,
    few: Dataset,
    many: Dataset,
}

impl Sizes {
    /// Fills them, which takes a while.
    pub(crate) fn prepare(testbed: &Testbed) -> anyhow::Result<Vec<Self>> {
        let prepare = |store| {
            let dataset = |payments| Dataset::prepare(store, payments, &testbed.program);
            anyhow::Ok(Self { store, few: dataset(FEW)?, many: dataset(MANY)? })
        };
        thread::scope(|scope| {
            let threads = Store::ALL.map(|store| scope.spawn(move || prepare(store)));
            let sizes = threads.map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("preparing failed"))));
            sizes.into_iter().collect()
        })
    }

    pub(crate) fn round(&mut self, testbed: &Testbed, figures: &mut Figures) -> anyhow::Result<()> {
        let trial = Trial::closed(CALLBACKS);
        let few = trial.run(&testbed.program, &mut self.few.copy()?)?.sent.per_second();
        let many = trial.run(&testbed.program, &mut self.many)?.sent.per_second();
        let name = |figure: &str| format!("{}.{figure}", self.store.word());
        figures.note(name("few.per_second"), few);
        figures.note(name("many.per_second"), many);
        figures.note(name("many.over_few"), many / few);
        Ok(())
    }
}
