//! Callbacks that come whether or not the one before is answered: at half of the service's peak, and at half of
//! pgbench's, which can't keep up with more, beside pgbench itself.

use crate::dataset::Store;
use crate::load::{Pace, Sent};
use crate::pgbench::Script;
use crate::report::Figures;
use crate::testbed::Testbed;
use crate::trial::Trial;

/// How long it lasts, in seconds.
const SECONDS: f64 = 4.0;

/// Enough for one to be idle whenever a callback is due.
const CONNECTIONS: usize = 256;

/// What pgbench did best with, mostly.
const CLIENTS: u64 = 32;

pub(crate) fn round(testbed: &mut Testbed, figures: &mut Figures) -> anyhow::Result<()> {
    for store in Store::ALL {
        let name = |figure: &str| format!("{}.{figure}", store.word());
        let Some(peak) = figures.median(&name("closed.per_second")) else { continue };
        let sent = at_rate(testbed, store, peak / 2.0)?;
        figures.note(name("open.per_second"), sent.per_second());
        figures.note_latencies(&name("open"), &sent.latencies);
    }
    let Some(peak) = figures.median("pgbench.closed.per_second") else { return Ok(()) };
    let sent = at_rate(testbed, Store::Postgres, peak / 2.0)?;
    let ran = testbed.pgbench(Script::Statements, CLIENTS, callbacks(peak / 2.0), Some(peak / 2.0))?;
    figures.note_latencies("postgres.gentle", &sent.latencies);
    figures.note("pgbench.gentle.per_second", ran.per_second);
    figures.note_latencies("pgbench.gentle", &ran.latencies);
    let (ours, theirs) = (sent.latencies.value_at_quantile(0.99), ran.latencies.value_at_quantile(0.99));
    figures.note("postgres.gentle.over_pgbench", ours as f64 / theirs as f64);
    Ok(())
}

fn at_rate(testbed: &mut Testbed, store: Store, rate: f64) -> anyhow::Result<Sent> {
    let trial = Trial { connections: CONNECTIONS, pace: Pace::Open(rate), ..Trial::closed(callbacks(rate)) };
    Ok(testbed.run(store, trial)?.sent)
}

/// How many make the time full.
fn callbacks(rate: f64) -> u64 {
    (rate * SECONDS) as u64
}
