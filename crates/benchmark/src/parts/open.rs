//! Callbacks that come whether or not the one before is answered: at half of the peak, and pgbench at the same rate.

use crate::ground::Store;
use crate::load::Pace;
use crate::report::Figures;
use crate::setting::Setting;
use crate::trial::Trial;

/// How long it lasts, in seconds.
const SECONDS: f64 = 4.0;

/// Enough for one to be idle whenever a callback is due.
const CONNECTIONS: usize = 256;

/// What pgbench did best with, mostly.
const CLIENTS: u64 = 32;

pub(crate) fn round(setting: &mut Setting, figures: &mut Figures) -> anyhow::Result<()> {
    for store in Store::ALL {
        let name = |figure: &str| format!("{}.{figure}", store.word());
        let Some(peak) = figures.median(&name("closed.per_second")) else { continue };
        let rate = peak / 2.0;
        let callbacks = (rate * SECONDS) as u64;
        let trial = Trial { connections: CONNECTIONS, pace: Pace::Open(rate), ..Trial::closed(callbacks) };
        let sent = setting.run(store, trial)?.sent;
        figures.note(name("open.per_second"), sent.per_second());
        figures.note_latencies(&name("open"), &sent.latencies);
        if store == Store::Postgres {
            let ran = setting.pgbench(CLIENTS, callbacks, Some(rate))?;
            figures.note("pgbench.open.per_second", ran.per_second);
            figures.note_latencies("pgbench.open", &ran.latencies);
            let (ours, theirs) = (sent.latencies.value_at_quantile(0.99), ran.latencies.value_at_quantile(0.99));
            figures.note(name("open.over_pgbench"), ours as f64 / theirs as f64);
        }
    }
    Ok(())
}
