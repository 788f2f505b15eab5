//! As fast as they can: pgbench, the bare HTTP layer, the service on both databases.

use std::slice;

use crate::callbacks::completions;
use crate::dataset::Store;
use crate::load::{Pace, Sent, send};
use crate::pgbench::Script;
use crate::report::{Figures, mebibytes, micros};
use crate::server::Server;
use crate::testbed::Testbed;
use crate::trial::{Measured, Trial};
use crate::usage::ProcessUsage;

/// The numbers of clients that pgbench may choose from.
const CLIENTS: [u64; 3] = [8, 16, 32];

/// How many transactions each of these makes.
const TRANSACTIONS: u64 = 6_000;

/// How many callbacks the service settles.
const CALLBACKS: u64 = 20_000;

pub(crate) fn round(testbed: &mut Testbed, figures: &mut Figures) -> anyhow::Result<()> {
    let statements = pgbench(testbed, Script::Statements, "pgbench.closed", figures)?;
    let one_statement = pgbench(testbed, Script::OneStatement, "pgbench.one_statement", figures)?;
    let bare = bare(testbed, figures)?;
    for store in Store::ALL {
        let name = |figure: &str| format!("{}.{figure}", store.word());
        let fresh = testbed.run(store, Trial::closed(CALLBACKS))?;
        let per_second = fresh.sent.per_second();
        note(figures, &name("closed"), &fresh);
        figures.note(name("closed.over_pgbench"), per_second / statements);
        figures.note(name("closed.over_one_statement"), per_second / one_statement);
        figures.note(name("closed.over_bare"), per_second / bare);
        figures.note_some(name("memory.peak_mib"), fresh.memory_peak.map(mebibytes));
        let duplicates = testbed.run(store, Trial { duplicates: true, ..Trial::closed(CALLBACKS) })?;
        figures.note(name("duplicates.per_second"), duplicates.sent.per_second());
        figures.note(name("duplicates.over_fresh"), duplicates.sent.per_second() / per_second);
    }
    Ok(())
}

/// Transactions a second with whichever number of clients makes most.
fn pgbench(testbed: &mut Testbed, script: Script, name: &str, figures: &mut Figures) -> anyhow::Result<f64> {
    let (mut best, mut best_clients) = (testbed.pgbench(script, CLIENTS[0], TRANSACTIONS, None)?, CLIENTS[0]);
    for clients in &CLIENTS[1..] {
        let ran = testbed.pgbench(script, *clients, TRANSACTIONS, None)?;
        if ran.per_second > best.per_second {
            (best, best_clients) = (ran, *clients);
        }
    }
    figures.note(format!("{name}.per_second"), best.per_second);
    figures.note(format!("{name}.clients"), best_clients as f64);
    figures.note_some(format!("{name}.database_cpu_us"), best.database_cpu.map(micros));
    figures.note_latencies(name, &best.latencies);
    Ok(best.per_second)
}

/// Callbacks a second where nothing is stored.
fn bare(testbed: &Testbed, figures: &mut Figures) -> anyhow::Result<f64> {
    let requests = completions(0..2 * CALLBACKS);
    let server = Server::start(&testbed.bare, &[])?;
    let cpu = || Some(ProcessUsage::of(server.pid())?.cpu);
    let before = cpu();
    let sent = send(slice::from_ref(&server.address), 64, &requests, Pace::Closed)?;
    let cpu = cpu().zip(before).map(|(after, before)| micros(after - before) / requests.len() as f64);
    figures.note("bare.closed.per_second", sent.per_second());
    figures.note_some("bare.closed.service_cpu_us", cpu);
    figures.note("bare.closed.generator_percent", generator_percent(&sent));
    Ok(sent.per_second())
}

fn note(figures: &mut Figures, name: &str, measured: &Measured) {
    let Measured { sent, service_cpu, database_cpu, wal_bytes, wal_syncs, written_bytes, batch_size, .. } = measured;
    figures.note(format!("{name}.per_second"), sent.per_second());
    figures.note(format!("{name}.generator_percent"), generator_percent(sent));
    figures.note_latencies(name, &sent.latencies);
    figures.note_some(format!("{name}.service_cpu_us"), service_cpu.map(micros));
    figures.note_some(format!("{name}.database_cpu_us"), database_cpu.map(micros));
    figures.note_some(format!("{name}.wal_bytes"), *wal_bytes);
    figures.note_some(format!("{name}.written_bytes"), *written_bytes);
    figures.note_some(format!("{name}.batch_size"), *batch_size);
    // In SQLite, whose only writer is the service, a transaction is synced once.
    figures.note_some(format!("{name}.syncs"), wal_syncs.or(batch_size.map(|size| 1.0 / size)));
}

fn generator_percent(sent: &Sent) -> f64 {
    100.0 * sent.cpu.as_secs_f64() / sent.took.as_secs_f64()
}
