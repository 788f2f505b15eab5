//! Events to the portal, as it may be: callbacks must not wait for it, and a backlog must go quickly.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use simulator::{Behaviour, Server as StandIn, empty_answer};

use crate::callbacks::completions;
use crate::dataset::Store;
use crate::load::{Pace, send};
use crate::report::{Figures, PORTALS, mebibytes};
use crate::server::Server;
use crate::testbed::Testbed;
use crate::trial::{Measured, Trial};
use crate::usage::Memory;

/// How many callbacks are settled beside each portal.
const CALLBACKS: u64 = 12_000;

/// How many events a backlog has that is drained.
const DRAINED: u64 = 100_000;

/// How many events wait that are not sent.
const BACKLOG: u64 = 1_000_000;

/// How many callbacks come one by one.
const LONE: u64 = 300;

/// The longest that an event may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";

/// A portal that takes every event, and tells when each came.
struct Portal {
    server: StandIn,
    url: String,
    came: Receiver<Instant>,
}

impl Portal {
    fn open(behaviour: Behaviour) -> anyhow::Result<Self> {
        let (tell, came) = channel();
        let tell = Mutex::new(tell);
        let take = move |_| {
            // The measurement may be over.
            let _ = tell.lock().map(|tell| tell.send(Instant::now()));
            empty_answer(204, &[])
        };
        let server = StandIn::start(take, behaviour)?;
        let url = server.url();
        Ok(Self { server, url, came })
    }

    fn settings(&self) -> [(&str, &str); 2] {
        [("PORTAL_EVENTS_URL", &self.url), ("PORTAL_EVENTS_SECRET", SECRET)]
    }

    fn next(&self) -> anyhow::Result<Instant> {
        self.came.recv_timeout(PATIENCE).context("an event that does not come")
    }
}

pub(crate) fn round(testbed: &mut Testbed, figures: &mut Figures) -> anyhow::Result<()> {
    for store in Store::ALL {
        beside_portals(testbed, figures, store)?;
        one_by_one(testbed, figures, store)?;
        backlog(testbed, figures, store)?;
        drain(testbed, figures, store)?;
        testbed.renew(store)?;
    }
    Ok(())
}

/// Callbacks a second beside a portal that takes events, is slow, hangs or is down.
fn beside_portals(testbed: &mut Testbed, figures: &mut Figures, store: Store) -> anyhow::Result<()> {
    for word in PORTALS {
        // Just before, for the tables change with every run.
        let unset = run(testbed, store, &[])?;
        figures.note(format!("{}.events.unset.per_second", store.word()), unset.sent.per_second());
        figures.note_some(format!("{}.events.unset.memory_mib", store.word()), unset.memory_peak.map(mebibytes));
        let behaviour = match word {
            "slow" => Behaviour::Slow(Duration::from_millis(200)),
            "hangs" => Behaviour::Hanging,
            _ => Behaviour::Proper,
        };
        let portal = Portal::open(behaviour)?;
        if word == "down" {
            portal.server.stop();
        }
        let measured = run(testbed, store, &portal.settings())?;
        // The portal would run on a machine of its own.
        let processors = thread::available_parallelism()?.get() as f64;
        let took = measured.sent.took - measured.stand_in_cpu.unwrap_or_default().div_f64(processors);
        let per_second = CALLBACKS as f64 / took.as_secs_f64();
        let name = |figure: &str| format!("{}.events.{word}.{figure}", store.word());
        figures.note(name("per_second"), per_second);
        figures.note(name("over_unset"), per_second / unset.sent.per_second());
        figures.note_some(name("memory_mib"), measured.memory_peak.map(mebibytes));
    }
    Ok(())
}

/// Settles callbacks with these settings, where there are no events of others.
fn run(testbed: &mut Testbed, store: Store, settings: &[(&str, &str)]) -> anyhow::Result<Measured> {
    let trial = Trial { settings, ..Trial::closed(CALLBACKS) };
    testbed.dataset(store, trial.payments())?.forget_events()?;
    testbed.run(store, trial)
}

/// From the answer of a callback to the receipt of its event, on an idle service.
fn one_by_one(testbed: &mut Testbed, figures: &mut Figures, store: Store) -> anyhow::Result<()> {
    let portal = Portal::open(Behaviour::Proper)?;
    let program = testbed.program.clone();
    let dataset = testbed.dataset(store, LONE)?;
    let requests = completions(dataset.take(LONE).context("too few payments")?);
    let url = dataset.url();
    let settings = [&[("DATABASE_URL", url.as_str())], &portal.settings()[..]].concat();
    // What others have left is sent first.
    dataset.forget_events()?;
    let server = Server::start(&program, &settings)?;
    let mut latencies = Histogram::<u64>::new(3)?;
    for request in requests {
        send(&[server.address], 1, &[request], Pace::Closed)?;
        let answered = Instant::now();
        // The event may come before the answer does.
        let latency = portal.next()?.saturating_duration_since(answered);
        latencies.record(latency.as_micros().try_into()?)?;
        thread::sleep(Duration::from_millis(20));
    }
    server.stop()?;
    figures.note_latencies(&format!("{}.events.lone", store.word()), &latencies);
    Ok(())
}

/// Callbacks a second beside a backlog that is not sent.
fn backlog(testbed: &mut Testbed, figures: &mut Figures, store: Store) -> anyhow::Result<()> {
    let trial = Trial::closed(CALLBACKS);
    let program = testbed.program.clone();
    let dataset = testbed.dataset(store, 2 * trial.payments())?;
    dataset.forget_events()?;
    let without = trial.run(&program, dataset)?.sent.per_second();
    dataset.add_events(BACKLOG)?;
    let with = trial.run(&program, dataset)?.sent.per_second();
    figures.note(format!("{}.events.backlog.over_none", store.word()), with / without);
    Ok(())
}

/// Events a second from a backlog.
fn drain(testbed: &mut Testbed, figures: &mut Figures, store: Store) -> anyhow::Result<()> {
    let program = testbed.program.clone();
    let dataset = testbed.dataset(store, 0)?;
    dataset.forget_events()?;
    dataset.add_events_of_payments(DRAINED)?;
    let portal = Portal::open(Behaviour::Proper)?;
    let url = dataset.url();
    let settings = [&[("DATABASE_URL", url.as_str())], &portal.settings()[..]].concat();
    let server = Server::start(&program, &settings)?;
    let first = portal.next()?;
    let mut last = first;
    for _ in 1..DRAINED {
        last = portal.next()?;
    }
    let memory = Memory::of(server.pid()).map(|memory| mebibytes(memory.peak));
    server.stop()?;
    ensure!(portal.came.try_recv().is_err(), "an event that was sent twice");
    let name = |figure: &str| format!("{}.events.drain.{figure}", store.word());
    figures.note(name("per_second"), DRAINED as f64 / (last - first).as_secs_f64());
    figures.note_some(name("memory_mib"), memory);
    Ok(())
}
