//! One callback at a time, on an idle service.

use crate::dataset::Store;
use crate::pgbench::Script;
use crate::report::Figures;
use crate::testbed::Testbed;
use crate::trial::Trial;

const CALLBACKS: u64 = 500;

pub(crate) fn round(testbed: &mut Testbed, figures: &mut Figures) -> anyhow::Result<()> {
    let pgbench = testbed.pgbench(Script::Statements, 1, CALLBACKS, None)?.latencies.value_at_quantile(0.5) as f64;
    figures.note("pgbench.lone.p50_ms", pgbench / 1e3);
    for store in Store::ALL {
        let name = |figure: &str| format!("{}.lone.{figure}", store.word());
        let sent = testbed.run(store, Trial { connections: 1, ..Trial::closed(CALLBACKS) })?.sent;
        let median = sent.latencies.value_at_quantile(0.5) as f64;
        figures.note(name("p50_ms"), median / 1e3);
        figures.note(name("over_pgbench"), median / pgbench);
    }
    Ok(())
}
