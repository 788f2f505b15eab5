//! The service as a process: started with settings, observed through its log, stopped by signals.

use std::io::{self, BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Connection, Request, Response};

/// How long the process may take to start or to end before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running service. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
    address: SocketAddr,
    log: Arc<Log>,
    readers: Vec<JoinHandle<()>>,
}

/// How a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// How long it took after the signal.
    pub took: Duration,
}

/// Everything that the process has written.
#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    changed: Condvar,
}

impl Service {
    /// Starts `program serve` in this folder with these settings and no others, on a free port of this machine,
    /// and waits until it listens.
    ///
    /// # Errors
    /// It does not; the error holds what it has written.
    pub fn start<'a>(
        program: &Path,
        folder: &Path,
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> io::Result<Self> {
        let mut service = Self::launch(program, folder, settings)?;
        service.wait_until_it_listens()?;
        Ok(service)
    }

    /// Like [`Service::start`], but does not wait.
    ///
    /// # Errors
    /// There is no such program.
    pub fn launch<'a>(
        program: &Path,
        folder: &Path,
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> io::Result<Self> {
        let mut child = Command::new(program)
            .arg("serve")
            .current_dir(folder)
            .env_clear()
            .env("BIND_ADDRESS", "127.0.0.1:0")
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = Arc::new(Log::default());
        let out = child.stdout.take().map(|out| log.read(out));
        let err = child.stderr.take().map(|err| log.read(err));
        let readers = out.into_iter().chain(err).collect();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self { child, address: nowhere, log, readers })
    }

    /// Waits until it listens.
    ///
    /// # Errors
    /// It does not; the error holds what it has written.
    pub fn wait_until_it_listens(&mut self) -> io::Result<()> {
        let started = Instant::now();
        loop {
            let ended = self.child.try_wait()?.is_some();
            if ended {
                self.join_readers();
            }
            if let Some(record) = self.records().iter().find(|record| record["message"] == "listening") {
                self.address = record["address"].as_str().unwrap_or_default().parse().map_err(io::Error::other)?;
                return Ok(());
            }
            if ended || started.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("the service does not listen: {:#?}", self.lines())));
            }
            self.log.wait(Duration::from_millis(20));
        }
    }

    /// The id of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection to it.
    ///
    /// # Errors
    /// It takes none.
    pub fn connect(&self) -> io::Result<Connection> {
        Connection::open(self.address)
    }

    /// Sends a request over a connection of its own and reads the answer.
    ///
    /// # Errors
    /// There is none.
    pub fn exchange(&self, request: &Request) -> io::Result<Response> {
        self.connect()?.exchange(request)
    }

    /// Sends these bytes over a connection of their own and reads the answer.
    ///
    /// # Errors
    /// There is none.
    pub fn replay(&self, bytes: &[u8]) -> io::Result<Response> {
        let mut connection = self.connect()?;
        connection.send(bytes)?;
        connection.receive()
    }

    /// Every line that it has written so far, on either stream.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.log.lock().clone()
    }

    /// The lines that are JSON.
    #[must_use]
    pub fn records(&self) -> Vec<Value> {
        self.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for this many records that match, and returns them.
    ///
    /// # Panics
    /// If they do not come within a minute.
    #[must_use]
    pub fn wait_for_records(&self, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let mut records = self.records();
            records.retain(&wanted);
            if records.len() >= count {
                return records;
            }
            assert!(started.elapsed() < PATIENCE, "only {} of {count} records: {:#?}", records.len(), self.lines());
            self.log.wait(Duration::from_millis(20));
        }
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// The process has ended already.
    pub fn terminate(&self) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::TERM)?)
    }

    /// Sends SIGINT, as Ctrl-C in its terminal does.
    ///
    /// # Errors
    /// The process has ended already.
    pub fn interrupt(&self) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::INT)?)
    }

    /// Sends SIGHUP, as the end of its terminal does.
    ///
    /// # Errors
    /// The process has ended already.
    pub fn hang_up(&self) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::HUP)?)
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// It does not.
    pub fn stop(&mut self) -> io::Result<Stopped> {
        let told = Instant::now();
        self.terminate()?;
        self.ended(told)
    }

    /// Waits for the end, after a signal at this time.
    ///
    /// # Errors
    /// It does not.
    pub fn ended(&mut self, told: Instant) -> io::Result<Stopped> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                let took = told.elapsed();
                self.join_readers();
                return Ok(Stopped { code: status.code(), took });
            }
            if told.elapsed() > PATIENCE {
                return Err(io::Error::other("the service does not stop"));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it (SIGKILL), as a power failure would.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.join_readers();
        Ok(())
    }

    fn join_readers(&mut self) {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.kill();
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, patience: Duration) {
        // The callers check again, also after a timeout.
        let _ = self.changed.wait_timeout(self.lock(), patience);
    }

    fn read(self: &Arc<Self>, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let log = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                log.lock().push(line);
                log.changed.notify_all();
            }
        })
    }
}

/// The program of this name that was built together with the running one.
///
/// # Errors
/// There is none.
pub fn program_beside(name: &str) -> io::Result<PathBuf> {
    let running = std::env::current_exe()?;
    let program = running.with_file_name(name);
    if program.is_file() {
        Ok(program)
    } else {
        Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not there: build it first", program.display())))
    }
}
