//! How the service behaves.

use std::time::Duration;

use clap::Args;
use slog::{KV, Record, Serializer};

use super::environment::SettingsError;
use super::keys::{Secrets, WebhookAuth};
use super::logging::LoggingSettings;
use super::portal_events::PortalEventsSettings;
use super::values::{host_and_port, whole_number, word};

/// How the service behaves.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServiceSettings {
    /// All connections of the process to its database
    #[arg(long, env, hide_env_values = true, value_name = "CONNECTIONS", default_value = "8",
          value_parser = whole_number::<1, 1000>)]
    pub(crate) database_pool_size: u64,

    /// Where to listen, as host and port; port 0 picks a free one
    #[arg(long, env, hide_env_values = true, value_name = "HOST:PORT", default_value = "127.0.0.1:8080",
          value_parser = host_and_port)]
    pub(crate) bind_address: String,

    /// How a callback is authenticated
    #[arg(long, env, hide_env_values = true, value_name = "WHAT", default_value = "api-key")]
    webhook_auth: WebhookAuth,

    /// The longest a callback waits for its answer, in milliseconds (the upstream hangs up after 5000)
    #[arg(long, env, hide_env_values = true, value_name = "MILLISECONDS", default_value = "4000",
          value_parser = whole_number::<10, 600_000>)]
    response_deadline_ms: u64,

    /// The largest body, in bytes
    #[arg(long, env, hide_env_values = true, value_name = "BYTES", default_value = "65536",
          value_parser = whole_number::<1, 16_777_216>)]
    pub(crate) body_bytes_max: u64,

    /// Callbacks that may wait to be settled; beyond it they are answered 503 at once
    #[arg(long, env, hide_env_values = true, value_name = "CALLBACKS", default_value = "4096",
          value_parser = whole_number::<1, 1_000_000>)]
    pub(crate) intake_queue_max: u64,

    /// How long an idle connection stays open, in seconds
    #[arg(long, env, hide_env_values = true, value_name = "SECONDS", default_value = "75",
          value_parser = whole_number::<1, 86_400>)]
    keep_alive_s: u64,

    #[command(flatten)]
    pub(crate) portal_events: PortalEventsSettings,

    #[command(flatten)]
    pub(crate) logging: LoggingSettings,
}

impl ServiceSettings {
    /// How long the ledger may take. It gives up before the deadline, so that the answer and the log can say why.
    pub(crate) fn ledger_patience(&self) -> Duration {
        self.response_deadline() * 3 / 4
    }

    pub(crate) fn response_deadline(&self) -> Duration {
        Duration::from_millis(self.response_deadline_ms)
    }

    pub(crate) fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.keep_alive_s)
    }

    /// The keys and secrets, and where the ledger is.
    pub(crate) fn secrets(&self) -> Result<Secrets, SettingsError> {
        Secrets::read(self.webhook_auth, self.portal_events.receiver.portal_events_url.is_some())
    }
}

/// The settings in force, for the log. None of them is a secret.
impl KV for ServiceSettings {
    fn serialize(&self, record: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let Self {
            database_pool_size,
            bind_address,
            webhook_auth,
            response_deadline_ms,
            body_bytes_max,
            intake_queue_max,
            keep_alive_s,
            portal_events,
            logging,
        } = self;
        // From the last to the first, as slog goes through keys.
        logging.serialize(record, serializer)?;
        portal_events.serialize(record, serializer)?;
        serializer.emit_u64("keep_alive_s", *keep_alive_s)?;
        serializer.emit_u64("intake_queue_max", *intake_queue_max)?;
        serializer.emit_u64("body_bytes_max", *body_bytes_max)?;
        serializer.emit_u64("response_deadline_ms", *response_deadline_ms)?;
        serializer.emit_str("webhook_auth", &word(webhook_auth))?;
        serializer.emit_str("bind_address", bind_address)?;
        serializer.emit_u64("database_pool_size", *database_pool_size)
    }
}
