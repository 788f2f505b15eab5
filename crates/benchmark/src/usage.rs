//! What processes have used up so far, as Linux, PostgreSQL and the service itself tell it. What one of them does
//! not tell is `None`.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable};
use simulator::{Connection, Request};

use crate::dataset::Dataset;
use crate::server::Server;

/// What a process has used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessUsage {
    /// Its own time on the processors, in its own code and in the kernel.
    pub(crate) cpu: Duration,
    /// Bytes that it had written to disks.
    pub(crate) written_bytes: Option<u64>,
}

impl ProcessUsage {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let Stat { own, .. } = Stat::of(pid)?;
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        Some(Self { cpu: own, written_bytes: value_in(&io, "write_bytes:") })
    }
}

/// The memory of a process that is in RAM, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    pub(crate) peak: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let bytes = |name| Some(value_in::<u64>(&status, name)? * 1024);
        Some(Self { now: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
    }
}

/// The processes of a PostgreSQL server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PostgresProcesses {
    postmaster: u32,
}

impl PostgresProcesses {
    /// Those of the server that holds this database, if it runs on this machine.
    pub(crate) fn of(dataset: &Dataset) -> Option<Self> {
        let connection = &mut dataset.postgres()?.connect();
        let backend = diesel::dsl::sql::<Integer>("SELECT pg_backend_pid()").get_result::<i32>(connection).ok()?;
        let backend = Stat::of(backend.try_into().ok()?).filter(|stat| stat.name == "postgres")?;
        Some(Self { postmaster: backend.parent })
    }

    /// What all of them together have used of the processors, those that have ended as well.
    pub(crate) fn cpu(self) -> Option<Duration> {
        let Stat { own, ended_children, .. } = Stat::of(self.postmaster)?;
        let pids = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let children = pids.filter_map(Stat::of).filter(|stat| stat.parent == self.postmaster);
        Some(own + ended_children + children.map(|child| child.own).sum::<Duration>())
    }
}

/// How busy the machine is with things that are none of ours.
pub(crate) struct OtherLoad {
    postgres: Option<PostgresProcesses>,
    since: Instant,
    used: Option<Duration>,
}

impl OtherLoad {
    /// Looks from now on.
    pub(crate) fn watch(dataset: &Dataset) -> Self {
        let postgres = PostgresProcesses::of(dataset);
        Self { postgres, since: Instant::now(), used: Self::used(postgres) }
    }

    /// How much of all processors they have taken, in percent.
    pub(crate) fn percent(&self) -> Option<f64> {
        let used = Self::used(self.postgres)?.checked_sub(self.used?)?;
        let processors = thread::available_parallelism().ok()?.get() as f64;
        Some(100.0 * used.as_secs_f64() / self.since.elapsed().as_secs_f64() / processors)
    }

    /// What everybody has used of the processors, without this process, its children and the database's server.
    fn used(postgres: Option<PostgresProcesses>) -> Option<Duration> {
        let everybody = fs::read_to_string("/proc/stat").ok()?;
        let everybody = everybody.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let fields: Vec<u64> = everybody.filter_map(|ticks| ticks.parse().ok()).collect();
        let [user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen, ..] = fields[..] else {
            return None;
        };
        let everybody = of_ticks(user + nice + system + interrupts + soft_interrupts + stolen);
        let Stat { own, ended_children, .. } = Stat::of(std::process::id())?;
        everybody.checked_sub(own + ended_children + postgres?.cpu()?)
    }
}

/// What a PostgreSQL server has written ahead.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub(crate) struct WalUsage {
    #[diesel(sql_type = BigInt)]
    pub(crate) bytes: i64,
    /// Sessions report these with a delay, but all of them when they end.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) syncs: Option<i64>,
}

impl WalUsage {
    /// That of the server that holds this database.
    pub(crate) fn of(dataset: &Dataset) -> anyhow::Result<Option<Self>> {
        let Some(database) = dataset.postgres() else { return Ok(None) };
        // Later servers have no wal_sync there.
        let query = diesel::sql_query(
            "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS bytes, \
             (SELECT (to_jsonb(w) ->> 'wal_sync')::bigint FROM pg_stat_wal w) AS syncs",
        );
        Ok(Some(query.get_result(&mut database.connect())?))
    }
}

/// What the service says of its transactions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Commits {
    pub(crate) transactions: f64,
    pub(crate) callbacks: f64,
}

impl Commits {
    pub(crate) fn of(server: &Server) -> Option<Self> {
        let metrics = Connection::open(server.address).ok()?.exchange(&Request::get("/metrics")).ok()?;
        let text = String::from_utf8(metrics.body).ok()?;
        Some(Self {
            transactions: value_in(&text, "payment_callback_batch_size_count ")?,
            callbacks: value_in(&text, "payment_callback_batch_size_sum ")?,
        })
    }
}

/// What `/proc/PID/stat` says.
struct Stat {
    name: String,
    parent: u32,
    own: Duration,
    ended_children: Duration,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // A name may hold anything, even a parenthesis.
        let (name, rest) = text.split_once('(')?.1.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let time = |user, system| Some(of_ticks(number(user)? + number(system)?));
        Some(Self {
            name: name.to_owned(),
            parent: number(1)?.try_into().ok()?,
            own: time(11, 12)?,
            ended_children: time(13, 14)?,
        })
    }
}

/// The time in which Linux counts what processors do.
fn of_ticks(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// What the threads of this process that are stand-ins have used of the processors; those that have ended do not count.
pub(crate) fn stand_in_cpu() -> Option<Duration> {
    let tasks =
        fs::read_dir("/proc/self/task").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Some(tasks.filter_map(Stat::of).filter(|stat| stat.name == "stand-in").map(|stat| stat.own).sum())
}

/// The number behind this name at the beginning of a line.
fn value_in<T: std::str::FromStr>(text: &str, name: &str) -> Option<T> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}
