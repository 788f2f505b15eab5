//! The figures as they come in, round by round, and the table that they end in.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::dataset::Store;

/// What stands at the other end of the central log, as the names of the figures and the table have it.
pub(crate) const LOG_DESTINATIONS: [&str; 6] = ["unset", "well", "slow", "fails", "hangs", "down"];

/// How the portal may be that is told of events, as the names of the figures and the table have it.
pub(crate) const PORTALS: [&str; 4] = ["well", "slow", "hangs", "down"];

/// What was measured: under each name one value a round.
#[derive(Default)]
pub(crate) struct Figures {
    rounds: BTreeMap<String, Vec<f64>>,
}

impl Figures {
    /// Notes a value of this round.
    pub(crate) fn note(&mut self, name: impl Into<String>, value: f64) {
        self.rounds.entry(name.into()).or_default().push(value);
    }

    /// Notes a value of this round, if there is one.
    pub(crate) fn note_some(&mut self, name: impl Into<String>, value: Option<f64>) {
        if let Some(value) = value {
            self.note(name, value);
        }
    }

    /// Notes how these latencies, in microseconds, are distributed.
    pub(crate) fn note_latencies(&mut self, name: &str, latencies: &Histogram<u64>) {
        let millis = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
        self.note(format!("{name}.p50_ms"), millis(0.5));
        self.note(format!("{name}.p99_ms"), millis(0.99));
        self.note(format!("{name}.p999_ms"), millis(0.999));
        self.note(format!("{name}.worst_ms"), latencies.max() as f64 / 1e3);
    }

    /// The median of all rounds.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        let mut values = self.rounds.get(name)?.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let even = values.len().is_multiple_of(2);
        let lower = *values.get(if even { middle - 1 } else { middle })?;
        Some(f64::midpoint(lower, *values.get(middle)?))
    }

    /// All of them, for scripts.
    pub(crate) fn json(&self) -> Value {
        let figure = |(name, rounds): (&String, &Vec<f64>)| {
            (name.clone(), json!({ "median": self.median(name), "rounds": rounds }))
        };
        Value::Object(self.rounds.iter().map(figure).collect::<Map<_, _>>())
    }

    /// Those of the table that there are.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_header(["figure", "median", "rounds", "goal", "met"]);
        for row in rows() {
            let medians: Option<Vec<f64>> = row.names.iter().map(|name| self.median(name)).collect();
            let Some(medians) = medians else { continue };
            let median = medians.iter().map(|value| written(*value)).collect::<Vec<_>>().join(" / ");
            let (goal, met) = row.goal.map_or_else(Default::default, |goal| (goal.to_string(), goal.met(medians[0])));
            table.add_row([row.label, median, self.range(&row.names), goal, met.to_owned()]);
        }
        for column in [1, 2, 3] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }

    /// The lowest and the highest value, where a row has only one figure and there was more than one round.
    fn range(&self, names: &[String]) -> String {
        let [name] = names else { return String::new() };
        let values = self.rounds.get(name).map(Vec::as_slice).unwrap_or_default();
        let (lowest, highest) = (values.iter().copied().reduce(f64::min), values.iter().copied().reduce(f64::max));
        match (lowest, highest) {
            (Some(lowest), Some(highest)) if values.len() > 1 => format!("{} – {}", written(lowest), written(highest)),
            _ => String::new(),
        }
    }
}

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn met(self, value: f64) -> &'static str {
        let met = match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        };
        if met { "yes" } else { "**no**" }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(least) => write!(formatter, "≥ {least}"),
            Self::AtMost(most) => write!(formatter, "≤ {most}"),
        }
    }
}

/// A line of the table. The goal is that of the first figure.
struct Row {
    label: String,
    names: Vec<String>,
    goal: Option<Goal>,
}

fn row(label: impl Into<String>, name: impl Into<String>) -> Row {
    Row { label: label.into(), names: vec![name.into()], goal: None }
}

fn latencies(label: &str, name: &str) -> Row {
    let names = ["p50_ms", "p99_ms", "p999_ms", "worst_ms"].map(|each| format!("{name}.{each}"));
    Row { label: format!("{label}: p50 / p99 / p99.9 / worst, ms"), names: names.into(), goal: None }
}

impl Row {
    fn at_least(self, least: f64) -> Self {
        Self { goal: Some(Goal::AtLeast(least)), ..self }
    }

    fn at_most(self, most: f64) -> Self {
        Self { goal: Some(Goal::AtMost(most)), ..self }
    }
}

/// The lines of the table, in their order.
fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("pgbench, transactions/s at its best", "pgbench.closed.per_second"),
        row("— with so many clients", "pgbench.closed.clients"),
        row("— CPU in PostgreSQL, µs per transaction", "pgbench.closed.database_cpu_us"),
        latencies("— latency", "pgbench.closed"),
        row("the same as one statement, transactions/s at its best", "pgbench.one_statement.per_second"),
        row("— with so many clients", "pgbench.one_statement.clients"),
        row("— CPU in PostgreSQL, µs per transaction", "pgbench.one_statement.database_cpu_us"),
        row("bare HTTP layer, callbacks/s", "bare.closed.per_second"),
        row("— CPU in the server, µs per callback", "bare.closed.service_cpu_us"),
        row("— the load generator's share of one processor, %", "bare.closed.generator_percent"),
    ];
    for (store, of) in [(Store::Postgres, "on PostgreSQL"), (Store::Sqlite, "on SQLite")] {
        let name = |figure: &str| format!("{}.{figure}", store.word());
        rows.extend([
            row(format!("service {of}, callbacks settled/s"), name("closed.per_second")),
            row("— ÷ pgbench", name("closed.over_pgbench")).at_least(4.0),
            row("— ÷ one statement", name("closed.over_one_statement")).at_least(2.5),
            row("— ÷ bare HTTP layer", name("closed.over_bare")),
            latencies("— latency", &name("closed")),
            row("— callbacks in a transaction", name("closed.batch_size")),
            row("— CPU in the service, µs per callback", name("closed.service_cpu_us")),
            row("— CPU in PostgreSQL, µs per callback", name("closed.database_cpu_us")),
            row("— fsyncs per callback", name("closed.syncs")),
            row("— bytes of WAL per callback", name("closed.wal_bytes")),
            row("— bytes written by the service per callback", name("closed.written_bytes")),
            row("— the load generator's share of one processor, %", name("closed.generator_percent")),
            row("— with 90 % duplicates, callbacks/s", name("duplicates.per_second")),
            row("— duplicates ÷ fresh", name("duplicates.over_fresh")),
            row("— open loop at half of the peak, callbacks/s", name("open.per_second")),
            row("— p99 there, ms", name("open.p99_ms")).at_most(15.0),
            latencies("— latency there", &name("open")),
            row("— one callback at a time, median, ms", name("lone.p50_ms")),
            row("— ÷ a lone pgbench client", name("lone.over_pgbench")).at_most(1.5),
            row("— 10,000 payments, callbacks/s", name("few.per_second")),
            row("— 5,000,000 payments, callbacks/s", name("many.per_second")),
            row("— 5,000,000 ÷ 10,000", name("many.over_few")).at_least(0.9),
            row("— resident memory idle, MiB", name("memory.idle_mib")).at_most(20.0),
            row("— resident memory at peak, MiB", name("memory.peak_mib")).at_most(64.0),
            row("— start to ready, ms", name("start_ms")).at_most(100.0),
        ]);
    }
    rows.extend([
        row("both at half of pgbench's best, callbacks/s", "pgbench.gentle.per_second"),
        latencies("— pgbench's latency", "pgbench.gentle"),
        latencies("— the service's on PostgreSQL", "postgres.gentle"),
        row("— p99 ÷ pgbench's", "postgres.gentle.over_pgbench").at_most(3.0),
        row("one pgbench client, median, ms", "pgbench.lone.p50_ms"),
    ]);
    rows.extend([1, 2, 4].map(|replicas| {
        row(format!("replicas on one PostgreSQL: {replicas}, callbacks/s"), format!("replicas.{replicas}.per_second"))
    }));
    rows.push(row("— 4 ÷ 1", "replicas.4.over_1").at_least(0.85));
    for word in LOG_DESTINATIONS {
        rows.push(row(format!("central log {word}, callbacks/s on SQLite"), format!("log.{word}.per_second")));
    }
    for (store, of) in [(Store::Postgres, "on PostgreSQL"), (Store::Sqlite, "on SQLite")] {
        let name = |figure: &str| format!("{}.events.{figure}", store.word());
        rows.push(row(format!("no portal is told, callbacks/s {of}"), name("unset.per_second")));
        rows.push(row("— resident memory at peak, MiB", name("unset.memory_mib")));
        for word in PORTALS {
            let told = row(format!("— portal {word}, callbacks/s ÷ that"), name(&format!("{word}.over_unset")));
            rows.push(told.at_least(if word == "well" { 0.8 } else { 0.95 }));
            rows.push(row("—— resident memory at peak, MiB", name(&format!("{word}.memory_mib"))));
        }
        rows.extend([
            row("— from a callback's answer to its event, median, ms", name("lone.p50_ms")).at_most(5.0),
            row("— the same, p99, ms", name("lone.p99_ms")).at_most(20.0),
            row("— events/s from a backlog of 100,000", name("drain.per_second")).at_least(5000.0),
            row("—— resident memory at peak, MiB", name("drain.memory_mib")),
            row("— callbacks/s with 1,000,000 events to send ÷ with none", name("backlog.over_none")).at_least(0.95),
        ]);
    }
    rows.push(row("the program, MiB", "program_mib").at_most(20.0));
    rows.push(row("one fsync of 8 KiB on this disk, ms", "machine.sync_ms"));
    rows
}

pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// With as many digits as can mean something.
fn written(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
