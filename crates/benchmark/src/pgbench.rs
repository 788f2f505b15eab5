//! The yardsticks: what PostgreSQL's own client does in the same tables, with the same reads and writes for one
//! callback as a transaction of their own.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use benchmark::payments::{FACTOR, MODULUS, ORDER_ID_FIRST, PAYMENT_ID_FIRST};
use hdrhistogram::Histogram;
use tempfile::TempDir;

use crate::dataset::Dataset;
use crate::usage::PostgresProcesses;

/// How a callback's transaction is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    /// As programs usually do it: a statement for each table, each a round trip.
    Statements,
    /// All of it in one statement, one round trip. No design that gives a callback a transaction of its own can do it
    /// with less.
    OneStatement,
}

/// Every client counts for itself, and together they take one payment after the other.
fn script(script: Script) -> String {
    let order_id_offset = ORDER_ID_FIRST - PAYMENT_ID_FIRST;
    let variables = format!(
        r"\set n :n + 1
\set number :first + :n * :clients + :client_id
\set payment :number * {FACTOR} % {MODULUS} + {PAYMENT_ID_FIRST}
\set order :payment + {order_id_offset}
"
    );
    let transaction = match script {
        Script::Statements => STATEMENTS,
        Script::OneStatement => ONE_STATEMENT,
    };
    variables + transaction
}

const STATEMENTS: &str = r"BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT o.order_id, o.amount_minor, o.currency, o.status, o.paid_by, o.paid_at, o.created_at, o.updated_at, p.payment_key, p.payment_id, p.order_key, p.method, p.amount_minor, p.currency, p.status, p.redirect_url, p.transaction_id, p.created_at, p.updated_at, p.paid_at FROM external_payments p JOIN orders o ON o.order_key = p.order_key WHERE p.payment_id = :payment \gset
UPDATE external_payments SET status = 'completed', transaction_id = :number, updated_at = now(), paid_at = now() WHERE payment_key = :payment_key;
DELETE FROM open_payments WHERE created_at = :created_at AND payment_key = :payment_key;
UPDATE orders SET status = 'paid', paid_by = :payment, paid_at = now(), updated_at = now() WHERE order_key = :order_key;
INSERT INTO deliveries (delivery_id, received_at, source, payment_key, payment_id, order_id, status, event, method, amount, currency, sent_at, transaction_id, body_sha256, key_name, request_id, outcome, reason, previous_status, new_status) VALUES (lpad(:number, 32, '0')::uuid, now(), 'callback', :payment_key, :payment, :order, 'completed', 'completed', 'webpay', NULL, NULL, now(), :number, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'k-01234567', '01920000-0000-7000-8000-000000000000', 'completed', NULL, 'pending', 'completed');
INSERT INTO event_queues (order_key, due_at) VALUES (:order_key, now()) ON CONFLICT (order_key) DO UPDATE SET revision = event_queues.revision + 1;
INSERT INTO events (event_id, kind, order_key, payment_key, paid_at, created_at) VALUES (lpad(:number, 32, '0')::uuid, 'order.paid', :order_key, :payment_key, now(), now());
COMMIT;
";

const ONE_STATEMENT: &str = r"WITH found AS (SELECT p.payment_key, p.order_key, p.created_at, o.order_id, o.status AS order_status, p.amount_minor, p.currency, p.status FROM external_payments p JOIN orders o ON o.order_key = p.order_key WHERE p.payment_id = :payment FOR NO KEY UPDATE),
moved AS (UPDATE external_payments p SET status = 'completed', transaction_id = :number, updated_at = now(), paid_at = now() FROM found WHERE p.payment_key = found.payment_key),
closed AS (DELETE FROM open_payments o USING found WHERE o.created_at = found.created_at AND o.payment_key = found.payment_key),
paid AS (UPDATE orders o SET status = 'paid', paid_by = :payment, paid_at = now(), updated_at = now() FROM found WHERE o.order_key = found.order_key),
noted AS (INSERT INTO deliveries (delivery_id, received_at, source, payment_key, payment_id, order_id, status, event, method, amount, currency, sent_at, transaction_id, body_sha256, key_name, request_id, outcome, reason, previous_status, new_status) SELECT lpad(:number, 32, '0')::uuid, now(), 'callback', payment_key, :payment, :order, 'completed', 'completed', 'webpay', NULL, NULL, now(), :number, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'::bytea, 'k-01234567', '01920000-0000-7000-8000-000000000000', 'completed', NULL, 'pending', 'completed' FROM found),
queued AS (INSERT INTO event_queues (order_key, due_at) SELECT order_key, now() FROM found ON CONFLICT (order_key) DO UPDATE SET revision = event_queues.revision + 1)
INSERT INTO events (event_id, kind, order_key, payment_key, paid_at, created_at) SELECT lpad(:number, 32, '0')::uuid, 'order.paid', order_key, payment_key, now(), now() FROM found;
";

/// pgbench, where it is.
pub(crate) struct Pgbench {
    program: PathBuf,
}

/// What came of a run.
pub(crate) struct Ran {
    pub(crate) per_second: f64,
    /// What the server's processes needed of the processors, per transaction.
    pub(crate) database_cpu: Option<Duration>,
    /// In microseconds. With a rate they count from when the transaction was to begin.
    pub(crate) latencies: Histogram<u64>,
}

impl Pgbench {
    /// Finds it beside the server's programs or in `PATH`.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let beside = Command::new("scripts/with-postgres").arg("--bindir").output().ok();
        let beside = beside.and_then(|output| Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim())));
        #[expect(clippy::disallowed_methods, reason = "where programs are is no testbed")]
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders = beside.into_iter().chain(env::split_paths(&path).collect::<Vec<_>>());
        let program = folders.find_map(|folder| Some(folder.join("pgbench")).filter(|program| program.is_file()));
        Ok(Self { program: program.context("pgbench is not there: scripts/bootstrap postgres")? })
    }

    /// Settles so many payments with so many clients, at most so many a second.
    pub(crate) fn settle(
        &self,
        dataset: &mut Dataset,
        transaction: Script,
        clients: u64,
        payments: u64,
        rate: Option<f64>,
    ) -> anyhow::Result<Ran> {
        let transactions = payments / clients;
        let first = dataset.take(transactions * clients).context("too few payments")?.start;
        let folder = TempDir::with_prefix("payment-callback-benchmark.")?;
        let (file, log) = (folder.path().join("callback.sql"), folder.path().join("log"));
        fs::write(&file, script(transaction))?;
        let before = dataset.tally()?;
        dataset.settle_down()?;
        let processes = PostgresProcesses::of(dataset);
        let cpu = || processes.and_then(PostgresProcesses::cpu);
        let mut command = Command::new(&self.program);
        command
            .args(["--no-vacuum", "--protocol=prepared", "--log", "--define=n=-1"])
            .arg(format!("--define=first={first}"))
            .arg(format!("--define=clients={clients}"))
            .arg(format!("--client={clients}"))
            .arg(format!("--jobs={}", clients.min(2)))
            .arg(format!("--transactions={transactions}"))
            .args(rate.map(|rate| format!("--rate={rate:.1}")))
            .args([OsStr::new("--file"), file.as_os_str(), OsStr::new("--log-prefix"), log.as_os_str()])
            .arg(dataset.url());
        let cpu_before = cpu();
        let output = command.output()?;
        let cpu_after = cpu();
        let (said, complained) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        ensure!(output.status.success(), "pgbench failed: {said}{complained}");
        let per_second = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        let after = dataset.tally()?;
        let settled = i64::try_from(transactions * clients)?;
        ensure!(after == before.with(settled, settled), "pgbench settled something else: {before:?} {after:?}");
        Ok(Ran {
            per_second: per_second.context("pgbench says no tps")?,
            database_cpu: cpu_after.zip(cpu_before).map(|(after, before)| (after - before).div_f64(settled as f64)),
            latencies: latencies(&folder)?,
        })
    }
}

/// Those that it has written down, one transaction a line.
fn latencies(folder: &TempDir) -> anyhow::Result<Histogram<u64>> {
    let mut latencies = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    for entry in fs::read_dir(folder.path())? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with("log.") {
            continue;
        }
        for line in fs::read_to_string(entry.path())?.lines() {
            let micros = line.split(' ').nth(2).context("a line with a time")?;
            latencies.saturating_record(micros.parse::<u64>()?.max(1));
        }
    }
    Ok(latencies)
}
