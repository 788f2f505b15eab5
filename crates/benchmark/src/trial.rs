//! One load on a service that was started for it, with all that it cost; checked, answer by answer and afterwards
//! in the database.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::callbacks::{completions, fresh_among, mostly_duplicates};
use crate::dataset::Dataset;
use crate::load::{Pace, Sent, send};
use crate::server::Server;
use crate::usage::{Commits, Memory, PostgresProcesses, ProcessUsage, WalUsage, stand_in_cpu};

/// Fresh callbacks before the measured ones, for connections and prepared statements to be there.
const WARM_UP: u64 = 256;

/// How often a payment is repeated where most callbacks are duplicates.
const REPEATED: u64 = 4;

/// What is sent to whom.
#[derive(Clone, Copy)]
pub(crate) struct Trial<'a> {
    /// Beside the database and the key.
    pub(crate) settings: &'a [(&'a str, &'a str)],
    /// How many of the program run on the same database.
    pub(crate) replicas: usize,
    pub(crate) connections: usize,
    pub(crate) callbacks: u64,
    /// Whether most of them repeat what is settled already.
    pub(crate) duplicates: bool,
    pub(crate) pace: Pace,
}

/// What came of it.
pub(crate) struct Measured {
    pub(crate) sent: Sent,
    /// Per callback, of all replicas.
    pub(crate) service_cpu: Option<Duration>,
    /// Per callback, of all processes of the database's server.
    pub(crate) database_cpu: Option<Duration>,
    /// Per callback; PostgreSQL's.
    pub(crate) wal_bytes: Option<f64>,
    /// Per callback; PostgreSQL's.
    pub(crate) wal_syncs: Option<f64>,
    /// Per callback, by the service itself.
    pub(crate) written_bytes: Option<f64>,
    /// Callbacks in one transaction, on average.
    pub(crate) batch_size: Option<f64>,
    /// The most memory that one of the replicas had in RAM, in bytes.
    pub(crate) memory_peak: Option<u64>,
    /// In total, of the stand-ins for neighbours in this process.
    pub(crate) stand_in_cpu: Option<Duration>,
}

impl Trial<'_> {
    /// Callbacks in a closed loop over as many connections as the upstream and the portal may keep open.
    pub(crate) fn closed(callbacks: u64) -> Self {
        Self { settings: &[], replicas: 1, connections: 64, callbacks, duplicates: false, pace: Pace::Closed }
    }

    /// How many fresh callbacks come before the measured ones.
    fn warm_up(self) -> u64 {
        if self.duplicates { self.callbacks / REPEATED } else { WARM_UP }
    }

    /// How many pending payments it needs.
    pub(crate) fn payments(self) -> u64 {
        self.warm_up() + if self.duplicates { fresh_among(self.callbacks) } else { self.callbacks }
    }

    /// Lets this program run on this database.
    pub(crate) fn run(self, program: &Path, dataset: &mut Dataset) -> anyhow::Result<Measured> {
        let payments = dataset.take(self.payments()).context("too few payments")?;
        let warm_up = payments.start..payments.start + self.warm_up();
        let fresh = warm_up.end..payments.end;
        let requests = if self.duplicates { mostly_duplicates(fresh, warm_up.clone()) } else { completions(fresh) };
        let url = dataset.url();
        let settings = [&[("DATABASE_URL", url.as_str())], self.settings].concat();
        dataset.settle_down()?;
        let (tally_before, wal_before) = (dataset.tally()?, WalUsage::of(dataset)?);
        let start = |_| Server::start(program, &settings);
        let servers = (0..self.replicas).map(start).collect::<anyhow::Result<Vec<_>>>()?;
        let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
        send(&addresses, self.connections, &completions(warm_up.clone()), Pace::Closed)?;

        let processes = PostgresProcesses::of(dataset);
        let wal_bytes_before = WalUsage::of(dataset)?.map(|wal| wal.bytes);
        let before = Spent::by(&servers, processes);
        let sent = send(&addresses, self.connections, &requests, self.pace)?;
        let after = Spent::by(&servers, processes);
        let wal_bytes_after = WalUsage::of(dataset)?.map(|wal| wal.bytes);

        let commits: Option<Vec<Commits>> = servers.iter().map(Commits::of).collect();
        let memory_peak = servers.iter().filter_map(|server| Some(Memory::of(server.pid())?.peak)).max();
        servers.into_iter().try_for_each(Server::stop)?;
        let (tally_after, wal_after) = (dataset.tally()?, WalUsage::of(dataset)?);

        let settled = requests.len() as u64 + self.warm_up();
        let expected = tally_before.with(i64::try_from(settled)?, i64::try_from(self.payments())?);
        ensure!(tally_after == expected, "the tables hold {tally_after:?} and not {expected:?}");
        let each = |time: Duration| time.div_f64(requests.len() as f64);
        let per_callback = |before, after| Some((after? - before?) as f64 / requests.len() as f64);
        let wal_syncs = || Some((wal_after?.syncs? - wal_before?.syncs?) as f64 / settled as f64);
        Ok(Measured {
            sent,
            service_cpu: after.service_cpu.zip(before.service_cpu).map(|(after, before)| each(after - before)),
            database_cpu: after.database_cpu.zip(before.database_cpu).map(|(after, before)| each(after - before)),
            wal_bytes: per_callback(wal_bytes_before, wal_bytes_after),
            wal_syncs: wal_syncs(),
            written_bytes: per_callback(before.written_bytes, after.written_bytes),
            batch_size: commits.map(|commits| mean_batch(&commits)),
            memory_peak,
            stand_in_cpu: after.stand_in_cpu.zip(before.stand_in_cpu).map(|(after, before)| after - before),
        })
    }
}

/// What has been spent so far.
struct Spent {
    service_cpu: Option<Duration>,
    database_cpu: Option<Duration>,
    written_bytes: Option<i64>,
    stand_in_cpu: Option<Duration>,
}

impl Spent {
    fn by(servers: &[Server], processes: Option<PostgresProcesses>) -> Self {
        let usage: Option<Vec<_>> = servers.iter().map(|server| ProcessUsage::of(server.pid())).collect();
        let usage = usage.as_deref();
        let written = |usage: &[ProcessUsage]| usage.iter().map(|usage| usage.written_bytes).sum::<Option<u64>>();
        Self {
            service_cpu: usage.map(|usage| usage.iter().map(|usage| usage.cpu).sum()),
            database_cpu: processes.and_then(PostgresProcesses::cpu),
            written_bytes: usage.and_then(written).and_then(|bytes| bytes.try_into().ok()),
            stand_in_cpu: stand_in_cpu(),
        }
    }
}

fn mean_batch(commits: &[Commits]) -> f64 {
    let callbacks: f64 = commits.iter().map(|commits| commits.callbacks).sum();
    let transactions: f64 = commits.iter().map(|commits| commits.transactions).sum();
    callbacks / transactions
}
