//! One callback at a time, with nobody else there.

use crate::ground::Store;
use crate::report::Figures;
use crate::setting::Setting;
use crate::trial::Trial;

const CALLBACKS: u64 = 500;

pub(crate) fn round(setting: &mut Setting, figures: &mut Figures) -> anyhow::Result<()> {
    let pgbench = setting.pgbench(1, CALLBACKS, None)?.latencies.value_at_quantile(0.5) as f64;
    figures.note("pgbench.lone.p50_ms", pgbench / 1e3);
    for store in Store::ALL {
        let name = |figure: &str| format!("{}.lone.{figure}", store.word());
        let sent = setting.run(store, Trial { connections: 1, ..Trial::closed(CALLBACKS) })?.sent;
        let median = sent.latencies.value_at_quantile(0.5) as f64;
        figures.note(name("p50_ms"), median / 1e3);
        figures.note(name("over_pgbench"), median / pgbench);
    }
    Ok(())
}
