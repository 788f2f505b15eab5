//! Where everything takes place: the programs, and the databases on which they are let loose.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use anyhow::anyhow;
use simulator::program_beside;

use crate::dataset::{Dataset, Store};
use crate::pgbench::{Pgbench, Ran, Script};
use crate::trial::{Measured, Trial};
use crate::usage::OtherLoad;

/// How many payments are registered.
const PAYMENTS: u64 = 200_000;

/// The programs and the databases.
pub(crate) struct Testbed {
    pub(crate) program: PathBuf,
    pub(crate) bare: PathBuf,
    pgbench: Pgbench,
    postgres: Prepared,
    sqlite: Prepared,
    other_load: OtherLoad,
}

/// A database as it was filled, and the copy that is in use.
struct Prepared {
    template: Dataset,
    dataset: Dataset,
}

impl Testbed {
    /// Finds the programs and fills the databases, both at a time.
    pub(crate) fn prepare() -> anyhow::Result<Self> {
        let (program, bare) = (program_beside("payment-callback")?, program_beside("bare")?);
        let pgbench = Pgbench::find()?;
        let prepare = |store| {
            let template = Dataset::prepare(store, PAYMENTS, &program)?;
            let dataset = template.copy()?;
            anyhow::Ok(Prepared { template, dataset })
        };
        let (postgres, sqlite) = thread::scope(|scope| {
            let sqlite = scope.spawn(|| prepare(Store::Sqlite));
            (prepare(Store::Postgres), sqlite.join().unwrap_or_else(|_| Err(anyhow!("preparing SQLite failed"))))
        });
        let (postgres, sqlite) = (postgres?, sqlite?);
        let other_load = OtherLoad::watch(&postgres.dataset);
        Ok(Self { program, bare, pgbench, postgres, sqlite, other_load })
    }

    /// A database with at least so many open payments; a fresh one if need be.
    pub(crate) fn dataset(&mut self, store: Store, payments: u64) -> anyhow::Result<&mut Dataset> {
        let Prepared { template, dataset } = match store {
            Store::Postgres => &mut self.postgres,
            Store::Sqlite => &mut self.sqlite,
        };
        if dataset.left() < payments {
            *dataset = template.copy()?;
        }
        Ok(dataset)
    }

    /// Takes a fresh database, for what was done to this one does not leave it as it was.
    pub(crate) fn renew(&mut self, store: Store) -> anyhow::Result<()> {
        let Prepared { template, dataset } = match store {
            Store::Postgres => &mut self.postgres,
            Store::Sqlite => &mut self.sqlite,
        };
        *dataset = template.copy()?;
        Ok(())
    }

    /// Lets the service settle callbacks.
    pub(crate) fn run(&mut self, store: Store, trial: Trial<'_>) -> anyhow::Result<Measured> {
        let program = self.program.clone();
        trial.run(&program, self.dataset(store, trial.payments())?)
    }

    /// Lets pgbench settle so many payments with so many clients, at most so many a second.
    pub(crate) fn pgbench(
        &mut self,
        transaction: Script,
        clients: u64,
        payments: u64,
        rate: Option<f64>,
    ) -> anyhow::Result<Ran> {
        self.dataset(Store::Postgres, payments)?;
        self.pgbench.settle(&mut self.postgres.dataset, transaction, clients, payments, rate)
    }

    /// Which program was measured, against what, and where.
    pub(crate) fn description(&self) -> anyhow::Result<String> {
        let version = Command::new(&self.program).arg("--version").output()?;
        let processors = thread::available_parallelism()?;
        let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = model.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
        let other_load = self.other_load.percent().map_or_else(|| "?".to_owned(), |percent| format!("{percent:.0}"));
        Ok(format!(
            "{}, PostgreSQL {}, on {processors} processors ({}) of which others took {other_load} %, Linux {}",
            String::from_utf8_lossy(&version.stdout).trim(),
            self.postgres.dataset.server_version()?,
            model.unwrap_or("unknown"),
            rustix::system::uname().release().to_string_lossy(),
        ))
    }
}
