use std::io;
use std::mem::ManuallyDrop;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use adapters_logging::LogCounts;
use anyhow::Context as _;
use clap::Args;
use slog::{Logger, error, info};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::settings::{DatabaseWait, Secrets, ServiceSettings};
use crate::wiring::{COMMIT, Service, VERSION, with_log};

/// How long open connections are served after a signal to stop: a request may come half a second later, and has the
/// deadline that is the default. With what settling and logging may take, less than the contract's 10 s.
const ANSWERING_MAX: Duration = Duration::from_millis(4750);

/// How long settling callbacks whose clients are gone may take after that.
const SETTLING_MAX: Duration = Duration::from_millis(1500);

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
        let secrets = self.settings.secrets()?;
        with_log(self.settings.logging.clone(), io::stdout(), |log, guard| {
            // To drop the runtime would be to wait for what blocks in its threads, for as long as that takes.
            let system = ManuallyDrop::new(actix_web::rt::System::new());
            let served = system.block_on(self.serve(secrets, log, guard.counts()));
            served.inspect_err(|error| error!(log, "not served"; "error" => format!("{error:#}")))
        })?;
        Ok(ExitCode::SUCCESS)
    }

    async fn serve(self, secrets: Secrets, log: &Logger, log_counts: Arc<LogCounts>) -> anyhow::Result<()> {
        let Self { settings, database_wait } = self;
        let mut stop_signals = StopSignals::listen()?;
        info!(log, "starting"; "version" => VERSION, "commit" => COMMIT, &secrets, &settings,
            "database_wait_s" => database_wait.duration().as_secs());
        secrets.warn_of_weak_keys(log);
        settings.logging.warn_of_hidden_records(log);

        let (url, wait) = (Arc::clone(&secrets.database_url), database_wait.duration());
        tokio::select! {
            applied = in_thread(move || url.migrate(wait)) => for migration in applied?? {
                info!(log, "migration applied"; "migration" => migration);
            },
            () = stop_signals.received() => return Ok(()),
        }
        let Service { mut server, intake, background } = Service::assemble(&settings, secrets, log, log_counts)?;
        for address in server.addresses()? {
            info!(log, "listening"; "address" => %address);
        }
        tokio::select! {
            error = server.run() => return Err(error).context("the server ended"),
            () = stop_signals.received() => info!(log, "stopping"),
        }
        tokio::join!(server.stop(ANSWERING_MAX), background.stop(ANSWERING_MAX));
        let finished = tokio::time::timeout(SETTLING_MAX, in_thread(move || intake.finish())).await;
        info!(log, "stopped"; "all_settled" => finished.is_ok());
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wiring::{LOGGING_CENTRALLY_MAX, LOGGING_MAX};

    #[test]
    fn stopping_takes_less_than_ten_seconds() {
        let stages = ANSWERING_MAX + SETTLING_MAX + LOGGING_MAX + LOGGING_CENTRALLY_MAX;
        assert!(stages < Duration::from_secs(10), "{stages:?}");
    }
}
