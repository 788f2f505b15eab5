use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use adapters_http::{Desk, Listening, ServerSettings, listen};
use adapters_postgres::LedgerOptions;
use anyhow::Context as _;
use clap::Args;
use ports::Clock;
use slog::{Logger, info};
use tokio::signal::unix::{SignalKind, signal};
use usecases::{GroupCommit, GroupCommitLimits, ReceiveNotification};

use crate::clock::SystemClock;
use crate::settings::{self, DatabaseSettings, ServiceSettings, SettingsError};

/// Callbacks that share a transaction at most: what 64 keep-alive connections can have waiting.
const BATCH_MAX: usize = 64;

/// How long the requests in flight may take to be answered after a signal to stop.
const ANSWERING_MAX: Duration = Duration::from_secs(6);

/// How long settling what nobody waits for any more may take after that.
const SETTLING_MAX: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    service: ServiceSettings,
    #[command(flatten)]
    database: DatabaseSettings,
}

impl Serve {
    /// Wires the service together and runs it until it is told to stop.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { service, database } = self;
        let webhook_authentication = service.webhook_authentication()?;
        let portal_keys = settings::api_keys("PORTAL_API_KEY")?;
        let operator_keys = settings::api_keys("OPERATOR_API_KEY")?;
        let database_url = settings::database_url()?;
        let (log, log_guard) = adapters_logging::json_logger(
            std::io::stdout(),
            service.log_level.into(),
            service.service_name.clone(),
            || SystemClock.now(),
        );
        info!(log, "starting"; "database" => %database_url, "webhook_auth" => service.webhook_auth(),
            "portal_keys" => ?portal_keys, "operator_keys" => ?operator_keys,
            "response_deadline_ms" => service.response_deadline().as_secs_f64() * 1000.0,
            "version" => env!("CARGO_PKG_VERSION"), "commit" => env!("COMMIT"));

        for migration in database_url.migrate(database.wait())? {
            info!(log, "migration applied"; "migration" => migration);
        }
        let pool_size = u32::try_from(database.database_pool_size)?;
        // The ledger gives up before the deadline, so that the answer and the log can say why.
        let patience = service.response_deadline() * 3 / 4;
        let ledger = database_url.ledger(LedgerOptions { pool_size, patience });
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let limits = GroupCommitLimits {
            queue_max: usize::try_from(service.intake_queue_max)?,
            batch_max: BATCH_MAX,
            committers: database_url.committers(),
        };
        let intake = Arc::new(GroupCommit::start(&ledger, limits)?);
        let receive = ReceiveNotification::new(Arc::clone(&intake), Arc::clone(&clock));
        let desk = Desk::new(ledger, clock, usize::try_from(pool_size)?);
        let server_settings = ServerSettings {
            bind_address: service.bind_address.clone(),
            keep_alive: service.keep_alive(),
            response_deadline: service.response_deadline(),
            body_bytes_max: usize::try_from(service.body_bytes_max)?,
            webhook_authentication,
            portal_keys,
            operator_keys,
        };
        actix_web::rt::System::new().block_on(async {
            let listening = listen(server_settings, Arc::clone(&intake), receive, desk, log.clone())
                .map_err(|error| SettingsError::new("BIND_ADDRESS", format!("cannot be used: {error}")))?;
            serve_until_told(listening, intake, &log).await
        })?;
        drop(log_guard);
        Ok(ExitCode::SUCCESS)
    }
}

async fn serve_until_told(listening: Listening, intake: Arc<GroupCommit>, log: &Logger) -> anyhow::Result<()> {
    let Listening { server, addresses, stop } = listening;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    for address in addresses {
        info!(log, "listening"; "address" => %address);
    }
    tokio::select! {
        ended = server => ended.context("the server ended")?,
        _ = interrupt.recv() => {},
        _ = terminate.recv() => {},
    }
    info!(log, "stopping");
    stop.stop(ANSWERING_MAX).await;
    let (finished, settled) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        intake.finish();
        finished.send(())
    });
    let settled = tokio::time::timeout(SETTLING_MAX, settled).await.is_ok();
    info!(log, "stopped"; "all_settled" => settled);
    Ok(())
}
