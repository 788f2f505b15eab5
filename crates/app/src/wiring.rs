//! The composition root: everything the program consists of is made here, and nowhere else.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use adapters_http::{Parts, Server, ServerSettings, listen};
use adapters_logging::{Destination, Disposition, LogCounts, LogGuard};
use adapters_postgres::LedgerOptions;
use adapters_upstream::Portal;
use anyhow::Context as _;
use background::{DispatchEvents, Driver, DriverParts, ReportStuckPayments, Schedule, wake_on_announcements};
use domain::Settlement;
use ports::Store;
use prometheus::{Histogram, Registry};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signatures::SigningSecret;
use slog::Logger;
use telemetry::{LogRecordCount, Metrics, State, Telemetry};
use tokio::sync::Semaphore;
use usecases::{
    BackgroundStatus, Blocking, DispatchEvents as DispatchEventsUseCase, DispatchParts, GroupCommit, GroupCommitLimits,
    Observer, Prune, ReceiveNotification, StatsCache, StuckPayments, UseCases,
};

use crate::clock::SystemClock;
use crate::settings::{DatabaseUrl, LoggingSettings, Secrets, ServiceSettings, SettingsError};

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
pub(crate) const COMMIT: &str = env!("COMMIT");

/// Callbacks that share a transaction at most: what 64 keep-alive connections can have waiting.
const BATCH_MAX: usize = 64;

/// How long writing the last log records may take, where nothing may be reading them.
pub(crate) const LOGGING_MAX: Duration = Duration::from_millis(500);

/// How long delivering them to the central logging service may take after that.
pub(crate) const LOGGING_CENTRALLY_MAX: Duration = Duration::from_millis(2750);

/// Clients' connections at most, however many files the process may open: each takes some 20 KiB.
const CONNECTIONS_MAX: u64 = 10_000;

/// Files that the process keeps open beside clients' connections, the database and what its threads wait on: its
/// streams, its listeners, the central logging service.
const OTHER_FILES: u64 = 32;

/// Files that one thread that serves connections waits on.
const THREAD_FILES: u64 = 4;

/// Files that one connection to the database takes: with SQLite the ledger, its log, its index, and a temporary one.
const DATABASE_CONNECTION_FILES: u64 = 4;

/// How often payments that are stuck are reported, and how long the replica that does it keeps the lease.
const REPORT_STUCK_PAYMENTS: Schedule = Schedule {
    period: Duration::from_secs(60 * 60),
    back_off_max: Duration::from_secs(10 * 60),
    lease: Some(Duration::from_secs(70 * 60)),
};

/// How often the outbox is looked at where no commit and no other replica says that there is something to send.
const DISPATCH_EVENTS: Schedule =
    Schedule { period: Duration::from_secs(5), back_off_max: Duration::from_secs(30), lease: None };

/// What settles payments, for requests and for background tasks.
struct Core {
    store: Arc<dyn Store>,
    use_cases: UseCases,
    intake: Arc<GroupCommit>,
    /// Of those who use the store beside the intake.
    permits: Arc<Semaphore>,
    /// Whether there is a connection to spare for what other replicas announce.
    listens: bool,
    registry: Registry,
    callback_duration: Histogram,
}

impl Core {
    fn assemble(settings: &ServiceSettings, database_url: &DatabaseUrl, log: &Logger) -> anyhow::Result<Self> {
        let (patience, pool_size) = (settings.ledger_patience(), settings.database_pool_size);
        let store = database_url.store(LedgerOptions { pool_size: u32::try_from(pool_size)?, patience });
        let registry = Registry::new();
        let metrics = Metrics::new(&registry, VERSION, COMMIT);
        let callback_duration = metrics.whole_duration();
        let use_cases = use_cases_on(&store, Arc::new(Telemetry::new(log.clone(), metrics)));
        let limits = GroupCommitLimits {
            queue_max: usize::try_from(settings.intake_queue_max)?,
            batch_max: BATCH_MAX,
            committers: database_url.committers(),
            patience,
        };
        let intake = Arc::new(GroupCommit::start(&use_cases, limits)?);
        // What is not for callbacks leaves the committers their connections.
        let spare = usize::try_from(pool_size)?.saturating_sub(limits.connections());
        let listens = spare > 1 && settings.portal_events.receiver.portal_events_url.is_some();
        let permits = Arc::new(Semaphore::new((spare - usize::from(listens)).max(1)));
        Ok(Self { store, use_cases, intake, permits, listens, registry, callback_duration })
    }

    /// A port that blocks, for async callers.
    fn blocking<P: ?Sized + Send + Sync + 'static>(&self, port: Arc<P>) -> Blocking<P> {
        Blocking::new(port, Arc::clone(&self.permits))
    }

    /// Begins with the work that needs no request.
    fn start_background(
        &self,
        settings: &ServiceSettings,
        portal_events_secrets: Vec<SigningSecret>,
        status: &Arc<BackgroundStatus>,
    ) -> anyhow::Result<Driver> {
        let UseCases { clock, observer, .. } = &self.use_cases;
        let mut driver = Driver::new(DriverParts {
            leases: self.blocking(Arc::clone(&self.store) as _),
            clock: Arc::clone(clock),
            status: Arc::clone(status),
            observer: Arc::clone(observer),
        });
        let stuck_payments = StuckPayments {
            upkeep: Arc::clone(&self.store) as _,
            clock: Arc::clone(clock),
            observer: Arc::clone(observer),
        };
        let report = ReportStuckPayments(self.blocking(Arc::new(stuck_payments)));
        driver.start(report, REPORT_STUCK_PAYMENTS, Arc::default());
        let portal_events = &settings.portal_events;
        if let Some(url) = portal_events.receiver.portal_events_url.clone() {
            let portal = Portal::new(url, portal_events_secrets, Arc::clone(clock));
            let (wake_up, intake) = (Arc::clone(&self.use_cases.events_to_send), Arc::clone(&self.intake));
            let dispatch = DispatchEvents(DispatchEventsUseCase::new(DispatchParts {
                outbox: self.blocking(Arc::clone(&self.store) as _),
                notifier: portal.context("the HTTP client cannot be made")?,
                schedule: portal_events.portal_events_retry_s.clone(),
                concurrency: usize::try_from(portal_events.portal_events_concurrency)?,
                observer: Arc::clone(observer),
                wake_up: Arc::clone(&wake_up),
                callbacks_come_first: Box::new(move || intake.is_busy()),
            }));
            driver.start(dispatch, DISPATCH_EVENTS, Arc::clone(&wake_up));
            if self.listens {
                wake_on_announcements(Arc::clone(&self.store) as _, wake_up)?;
            }
        }
        Ok(driver)
    }
}

/// The service: listening, not yet accepting.
pub(crate) struct Service {
    pub(crate) server: Server,
    pub(crate) intake: Arc<GroupCommit>,
    pub(crate) background: Driver,
}

impl Service {
    /// Makes it, on a store whose schema is this program's. Must be called in an async runtime.
    pub(crate) fn assemble(
        settings: &ServiceSettings,
        mut secrets: Secrets,
        log: &Logger,
        log_counts: Arc<LogCounts>,
    ) -> anyhow::Result<Self> {
        let core = Core::assemble(settings, &secrets.database_url, log)?;
        let task_status = Arc::new(BackgroundStatus::default());
        let portal_events_secrets = std::mem::take(&mut secrets.portal_events_secrets);
        let background = core.start_background(settings, portal_events_secrets, &task_status)?;
        let stats = Arc::new(StatsCache::new(core.blocking(Arc::clone(&core.store) as _)));
        let state = State {
            intake: Arc::clone(&core.intake),
            upkeep: Arc::clone(&core.store) as _,
            stats: Arc::clone(&stats),
            background: Arc::clone(&task_status),
            clock: Arc::clone(&core.use_cases.clock),
            log_records: Box::new(move || log_counts.all().map(log_record_count).collect()),
        };
        state.register(&core.registry);
        let parts = Parts {
            receive: ReceiveNotification::new(Arc::clone(&core.intake), core.use_cases.clone()),
            intake: Arc::clone(&core.intake),
            clock: Arc::clone(&core.use_cases.clock),
            use_cases: core.blocking(Arc::new(core.use_cases.clone())),
            history: core.blocking(Arc::clone(&core.store) as _),
            upkeep: core.blocking(Arc::clone(&core.store) as _),
            stats,
            background: task_status,
            registry: core.registry,
            callback_duration: core.callback_duration,
            log: log.clone(),
        };
        let server = listen(server_settings(settings, secrets)?, parts)
            .map_err(|error| SettingsError::new("BIND_ADDRESS", format!("cannot be used: {error}")))?;
        Ok(Self { server, intake: core.intake, background })
    }
}

fn server_settings(settings: &ServiceSettings, secrets: Secrets) -> anyhow::Result<ServerSettings> {
    let Secrets { webhook_authentication, portal_keys, operator_keys, .. } = secrets;
    let connections_max = connections_max(raise_open_files_limit(), settings.database_pool_size);
    Ok(ServerSettings {
        bind_address: settings.bind_address.clone(),
        connections_max: usize::try_from(connections_max)?,
        keep_alive: settings.keep_alive(),
        response_deadline: settings.response_deadline(),
        body_bytes_max: usize::try_from(settings.body_bytes_max)?,
        webhook_authentication,
        portal_keys,
        operator_keys,
    })
}

/// The use cases for a command, which logs what they do.
pub(crate) fn use_cases(store: &Arc<dyn Store>, log: &Logger) -> UseCases {
    let metrics = Metrics::new(&Registry::new(), VERSION, COMMIT);
    use_cases_on(store, Arc::new(Telemetry::new(log.clone(), metrics)))
}

/// The removal of old records for a command, which logs what it did.
pub(crate) fn prune(store: &Arc<dyn Store>, log: &Logger) -> Prune {
    let UseCases { clock, observer, .. } = use_cases(store, log);
    Prune { retention: Arc::clone(store) as _, clock, observer }
}

fn use_cases_on(store: &Arc<dyn Store>, observer: Arc<dyn Observer>) -> UseCases {
    UseCases {
        ledger: Arc::clone(store) as _,
        history: Arc::clone(store) as _,
        outbox: Arc::clone(store) as _,
        clock: Arc::new(SystemClock),
        observer,
        events_to_send: Arc::default(),
    }
}

/// Has a service that runs send the events of what a command has settled. It would find them by itself, a little later.
pub(crate) fn announce_events(store: &dyn Store, settlements: &[Settlement]) {
    if settlements.iter().any(|settlement| !settlement.events.is_empty()) {
        let _ = store.announce();
    }
}

/// Does `work` with a log that goes to this stream, and centrally where that is set; returns when the log is written.
pub(crate) fn with_log<T>(
    settings: LoggingSettings,
    stream: impl Write + IsTerminal + Send + 'static,
    work: impl FnOnce(&Logger, &LogGuard) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (log, guard) = adapters_logging::start(settings.for_log_into(&stream), stream)?;
    let done = work(&log, &guard);
    guard.close(LOGGING_MAX, LOGGING_CENTRALLY_MAX);
    done
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

fn log_record_count((destination, disposition, count): (Destination, Disposition, u64)) -> LogRecordCount {
    LogRecordCount { destination: destination.word(), result: disposition.word(), count }
}
