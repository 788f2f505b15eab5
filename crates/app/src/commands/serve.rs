use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use adapters_http::{Desk, LogRecords, Metrics, ServerSettings, listen};
use adapters_logging::{Destination, Fate, LogCounts};
use adapters_postgres::LedgerOptions;
use anyhow::Context as _;
use clap::Args;
use ports::Clock;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use slog::{Logger, error, info};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use usecases::{CommitObserver, GroupCommit, GroupCommitLimits, ReceiveNotification};

use crate::clock::SystemClock;
use crate::settings::{DatabaseWait, Secrets, ServiceSettings, SettingsError};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const COMMIT: &str = env!("COMMIT");

/// Callbacks that share a transaction at most: what 64 keep-alive connections can have waiting.
const BATCH_MAX: usize = 64;

/// How long open connections are served after a signal to stop: a request may come half a second later, and has the
/// deadline that is the default. All four together are less than the 10 s that the contract allows.
const ANSWERING_MAX: Duration = Duration::from_millis(4750);

/// How long settling what nobody waits for any more may take after that.
const SETTLING_MAX: Duration = Duration::from_millis(1500);

/// How long writing the last log records may take, where nobody may be reading them.
const LOGGING_MAX: Duration = Duration::from_millis(500);

/// How long delivering them to the central logging service may take after that.
const LOGGING_CENTRALLY_MAX: Duration = Duration::from_millis(2750);

/// Clients' connections at most, however many files the process may open: each takes some 20 KiB.
const CONNECTIONS_MAX: u64 = 10_000;

/// Files that the process keeps open beside clients' connections, the database and what its threads wait on: its
/// streams, its listeners, the central logging service.
const OTHER_FILES: u64 = 32;

/// Files that one thread that serves connections waits on.
const THREAD_FILES: u64 = 4;

/// Files that one connection to the database takes: with SQLite the ledger, its log, its index, and a temporary one.
const DATABASE_CONNECTION_FILES: u64 = 4;

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: ServiceSettings,
    #[command(flatten)]
    database_wait: DatabaseWait,
}

impl Serve {
    /// Runs the service until it is told to stop.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let stdout = io::stdout();
        let secrets = self.settings.secrets()?;
        let (log, log_guard) = adapters_logging::start(self.settings.logging.clone().for_log_into(&stdout), stdout)?;
        let system = actix_web::rt::System::new();
        let served = system.block_on(self.serve(secrets, &log, log_guard.counts()));
        if let Err(error) = &served {
            error!(log, "not served"; "error" => format!("{error:#}"));
        }
        log_guard.close(LOGGING_MAX, LOGGING_CENTRALLY_MAX);
        served.map(|()| ExitCode::SUCCESS)
    }

    /// Wires everything together.
    async fn serve(self, secrets: Secrets, log: &Logger, log_counts: Arc<LogCounts>) -> anyhow::Result<()> {
        let Self { settings, database_wait } = self;
        let open_files_max = raise_open_files_limit();
        let mut stop_signals = StopSignals::listen()?;
        info!(log, "starting"; "version" => VERSION, "commit" => COMMIT, &secrets, &settings,
            "database_wait_s" => database_wait.duration().as_secs());
        secrets.warn_of_weak_keys(log);
        settings.warn_of_hidden_records(log);
        let Secrets { database_url, webhook_authentication, portal_keys, operator_keys } = secrets;
        let database_url = Arc::new(database_url);

        let (url, wait) = (Arc::clone(&database_url), database_wait.duration());
        tokio::select! {
            applied = in_thread(move || url.migrate(wait)) => for migration in applied?? {
                info!(log, "migration applied"; "migration" => migration);
            },
            () = stop_signals.received() => return Ok(()),
        }
        // The ledger gives up before the deadline, so that the answer and the log can say why.
        let patience = settings.response_deadline() * 3 / 4;
        let pool_size = u32::try_from(settings.database_pool_size)?;
        let ledger = database_url.ledger(LedgerOptions { pool_size, patience });
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let limits = GroupCommitLimits {
            queue_max: usize::try_from(settings.intake_queue_max)?,
            batch_max: BATCH_MAX,
            committers: database_url.committers(),
            patience,
        };
        let log_records = move || log_counts.all().map(log_records).collect();
        let metrics = Arc::new(Metrics::new(Arc::clone(&clock), VERSION, COMMIT, log_records));
        let observer: Arc<dyn CommitObserver> = Arc::clone(&metrics) as _;
        let intake = Arc::new(GroupCommit::start(&ledger, &clock, limits, observer)?);
        let receive = ReceiveNotification::new(Arc::clone(&intake), Arc::clone(&clock));
        // What is not for callbacks leaves the committers their connections.
        let turns = usize::try_from(pool_size)?.saturating_sub(limits.connections()).max(1);
        let desk = Desk::new(ledger, clock, turns);
        let server_settings = ServerSettings {
            bind_address: settings.bind_address.clone(),
            connections_max: usize::try_from(connections_max(open_files_max, settings.database_pool_size))?,
            keep_alive: settings.keep_alive(),
            response_deadline: settings.response_deadline(),
            body_bytes_max: usize::try_from(settings.body_bytes_max)?,
            webhook_authentication,
            portal_keys,
            operator_keys,
        };
        let mut server = listen(server_settings, Arc::clone(&intake), receive, desk, metrics, log.clone())
            .map_err(|error| SettingsError::new("BIND_ADDRESS", format!("cannot be used: {error}")))?;
        for address in server.addresses()? {
            info!(log, "listening"; "address" => %address);
        }
        tokio::select! {
            error = server.run() => return Err(error).context("the server ended"),
            () = stop_signals.received() => info!(log, "stopping"),
        }
        server.stop(ANSWERING_MAX).await;
        let finished = tokio::time::timeout(SETTLING_MAX, in_thread(move || intake.finish())).await;
        info!(log, "stopped"; "all_settled" => finished.is_ok());
        Ok(())
    }
}

/// Lets the process open as many files as it may at all; returns how many these are. What a shell or systemd gives it
/// otherwise, 1,024, is meant for programs that cannot deal with more.
fn raise_open_files_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    if raised.is_ok() { limit.maximum } else { limit.current }.unwrap_or(u64::MAX)
}

/// How many connections clients may have where so many files may be open: those that nothing else needs, and at
/// least a quarter.
fn connections_max(open_files_max: u64, database_pool_size: u64) -> u64 {
    let threads = thread::available_parallelism().map_or(2, |count| count.get() as u64);
    let kept = OTHER_FILES + THREAD_FILES * threads + DATABASE_CONNECTION_FILES * database_pool_size;
    open_files_max.saturating_sub(kept).max(open_files_max / 4).min(CONNECTIONS_MAX)
}

fn log_records((destination, fate, count): (Destination, Fate, u64)) -> LogRecords {
    LogRecords { destination: destination.word(), result: fate.word(), count }
}

/// The signals that tell the service to stop.
struct StopSignals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.hangup.recv() => {},
            _ = self.interrupt.recv() => {},
            _ = self.terminate.recv() => {},
        }
    }
}

/// Does something that blocks in a thread that the end of the program does not wait for.
async fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    let (done, result) = oneshot::channel();
    thread::spawn(move || done.send(work()));
    Ok(result.await?)
}
