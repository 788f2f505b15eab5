//! Measures the service beside what else could be done on the same machine at the same time, and prints one table.
//! docs/performance.md says what each figure is. Needs a PostgreSQL server in `TEST_DATABASE_URL` that syncs what
//! it commits, and the release build of the workspace.

mod callbacks;
mod dataset;
mod load;
mod parts;
mod pgbench;
mod report;
mod server;
mod testbed;
mod trial;
mod usage;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use parts::sizes::Sizes;
use parts::{closed, destinations, events, footprint, lone, open, replicas};
use report::Figures;
use testbed::Testbed;

/// Measures the service and prints a table.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often everything is measured; the table shows the medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// What to measure, separated by commas; everything if left out
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,

    /// Where to write every value of every round, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Closed loops: pgbench, the bare HTTP layer, the service on both databases, fresh callbacks and duplicates
    Closed,
    /// Latency at half of the peak, which the closed loops find first
    Open,
    /// One callback at a time
    Lone,
    /// Start, idle memory, size
    Footprint,
    /// One, two and four replicas
    Replicas,
    /// The central log
    Log,
    /// Events to the portal
    Events,
    /// 10,000 and 5,000,000 payments
    Sizes,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut session = Session::begin(arguments)?;
    session.part(Part::Closed, closed::round)?;
    session.part(Part::Open, open::round)?;
    session.part(Part::Lone, lone::round)?;
    session.part(Part::Footprint, footprint::round)?;
    session.part(Part::Replicas, replicas::round)?;
    session.part(Part::Log, destinations::round)?;
    session.part(Part::Events, events::round)?;
    if session.includes(Part::Sizes) {
        session.note("registering ten million payments");
        let mut sizes = Sizes::prepare(&session.testbed)?;
        session.part(Part::Sizes, |testbed, figures| {
            sizes.iter_mut().try_for_each(|sizes| sizes.round(testbed, figures))
        })?;
    }
    session.end()
}

/// One run of this program.
struct Session {
    arguments: Arguments,
    testbed: Testbed,
    figures: Figures,
    started: Instant,
}

impl Session {
    fn begin(arguments: Arguments) -> anyhow::Result<Self> {
        let started = Instant::now();
        note(started, "registering payments");
        Ok(Self { arguments, testbed: Testbed::prepare()?, figures: Figures::default(), started })
    }

    /// Whether this part is wanted. An open loop must know the peak.
    fn includes(&self, part: Part) -> bool {
        let only = &self.arguments.only;
        only.is_empty() || only.contains(&part) || (part == Part::Closed && only.contains(&Part::Open))
    }

    /// Measures a part, round by round.
    fn part(
        &mut self,
        part: Part,
        mut round: impl FnMut(&mut Testbed, &mut Figures) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let rounds = if self.includes(part) { self.arguments.rounds } else { 0 };
        for number in 1..=rounds {
            self.note(&format!("{part:?}, round {number} of {rounds}"));
            round(&mut self.testbed, &mut self.figures)?;
        }
        Ok(())
    }

    /// Says where we are.
    fn note(&self, text: &str) {
        note(self.started, text);
    }

    fn end(self) -> anyhow::Result<()> {
        self.note("done");
        println!("{}\n\n{}", self.testbed.description()?, self.figures.table());
        if let Some(path) = self.arguments.json {
            fs::write(path, format!("{:#}\n", self.figures.json()))?;
        }
        Ok(())
    }
}

fn note(started: Instant, text: &str) {
    eprintln!("{:4} s  {text}", started.elapsed().as_secs());
}
