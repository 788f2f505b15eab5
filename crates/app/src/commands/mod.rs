//! The commands: one file each.

mod deliveries;
mod event;
mod events;
mod history;
mod migrate;
mod order;
mod payment;
mod ping_portal;
mod prune;
mod redeliver;
mod register;
mod replay;
mod send;
mod serve;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{ArgMatches, Parser, Subcommand};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;

use crate::settings::{
    self, Secrets, SenderCredentials, SettingsError, WebhookAuth, database_help, portal_events_help,
    portal_events_secrets, secrets_help,
};

/// Receives payment notifications and settles each payment exactly once
#[derive(Debug, Parser)]
#[command(
    name = "payment-callback",
    version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("COMMIT"), ")"),
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Apply pending migrations, then listen for callbacks
    #[command(after_help = secrets_help())]
    Serve(serve::Serve),
    /// Apply pending migrations and say which
    #[command(after_help = database_help())]
    Migrate(migrate::Migrate),
    /// Register an expected payment
    #[command(after_help = database_help())]
    Register(register::Register),
    /// Post a callback to a running service the way the upstream does
    #[command(after_help = send::KEY_HELP)]
    Send(send::Send),
    /// Show a payment with its whole history
    #[command(after_help = database_help())]
    Payment(payment::Payment),
    /// Show an order with its payments and their whole history
    #[command(after_help = database_help())]
    Order(order::Order),
    /// Show the audit trail, newest first
    #[command(after_help = database_help())]
    Deliveries(deliveries::Deliveries),
    /// Apply a stored delivery again, through the same rule
    #[command(after_help = database_help())]
    Replay(replay::Replay),
    /// Show what the portal was or will be told, newest first
    #[command(after_help = database_help())]
    Events(events::Events),
    /// Show an event with the attempts to deliver it
    #[command(after_help = database_help())]
    Event(event::Event),
    /// Make an event due now, or all that match
    #[command(after_help = database_help())]
    Redeliver(redeliver::Redeliver),
    /// Remove old audit entries and events that are no longer needed
    #[command(after_help = database_help())]
    Prune(prune::Prune),
    /// Send a signed test event to the portal and say what came back
    #[command(after_help = portal_events_help())]
    PingPortal(ping_portal::PingPortal),
}

/// What is wrong with what the command takes from the environment alone.
pub(crate) fn check_secrets(matches: &ArgMatches) -> Result<(), SettingsError> {
    match matches.subcommand() {
        Some(("serve", serve)) => {
            // Where it is bad itself, keys are asked for, as by default.
            let webhook_auth = serve.try_get_one("webhook_auth").ok().flatten().copied();
            let sends_events = serve.try_get_raw("portal_events_url").ok().flatten().is_some();
            Secrets::read(webhook_auth.unwrap_or(WebhookAuth::ApiKey), sends_events).map(drop)
        }
        Some(("ping-portal", _)) => portal_events_secrets().map(drop),
        Some(("send", _)) => SenderCredentials::read().map(drop),
        _ => settings::database_url().map(drop),
    }
}

pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if !matches!(cli.command, Command::Serve(_)) {
        end_at_signals()?;
    }
    match cli.command {
        Command::Serve(command) => command.run(),
        Command::Migrate(command) => command.run(),
        Command::Register(command) => command.run(),
        Command::Send(command) => command.run(),
        Command::Payment(command) => command.run(),
        Command::Order(command) => command.run(),
        Command::Deliveries(command) => command.run(),
        Command::Replay(command) => command.run(),
        Command::Events(command) => command.run(),
        Command::Event(command) => command.run(),
        Command::Redeliver(command) => command.run(),
        Command::Prune(command) => command.run(),
        Command::PingPortal(command) => command.run(),
    }
}

/// Ends the process at the first signal to stop, also as PID 1, which is spared by signals that it does not handle.
fn end_at_signals() -> io::Result<()> {
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        register_conditional_shutdown(signal, 128 + signal, Arc::new(AtomicBool::new(true)))?;
    }
    Ok(())
}
