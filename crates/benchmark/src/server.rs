//! The programs that answer callbacks, as processes of their own that log into a file.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::callbacks::KEY;

/// How long a program may take to start or to end before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. It is killed when this value goes.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// How long it took from its start until it listened.
    pub(crate) start_took: Duration,
    _folder: TempDir,
}

impl Server {
    /// Starts `program serve` with these settings and no others beside the key, on a free port, and waits until it
    /// listens.
    pub(crate) fn start(program: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("payment-callback-benchmark.")?;
        let log = folder.path().join("log");
        let file = File::create(&log)?;
        let started = Instant::now();
        let child = Command::new(program)
            .arg("serve")
            .current_dir(folder.path())
            .env_clear()
            .env("BIND_ADDRESS", "127.0.0.1:0")
            .env("PAYMENT_API_KEY", KEY)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, log, address: nowhere, start_took: Duration::ZERO, _folder: folder };
        while server.address == nowhere {
            ensure!(server.child.try_wait()?.is_none(), "the server does not start: {}", server.log()?);
            ensure!(started.elapsed() < PATIENCE, "the server does not listen: {}", server.log()?);
            thread::sleep(Duration::from_micros(500));
            server.start_took = started.elapsed();
            if let Some(address) = listening(&server.log()?) {
                server.address = address.parse().context("where it listens")?;
            }
        }
        Ok(server)
    }

    /// Its number among the processes.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to stop and waits until it has.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let told = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the server ended with {status}: {}", self.log()?),
                None if told.elapsed() > PATIENCE => bail!("the server does not stop"),
                None => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the record that says where it listens.
fn listening(log: &str) -> Option<String> {
    let mut records = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let record = records.find(|record| record["message"] == "listening")?;
    record["address"].as_str().map(str::to_owned)
}
