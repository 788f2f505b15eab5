//! What is logged, and where to.

use std::io::IsTerminal;

use adapters_logging::{CentralSettings, Format, LogSettings};
use clap::{Args, ValueEnum};
use ports::Clock as _;
use slog::{KV, Logger, Record, Serializer, warn};
use url::Url;

use super::environment::environment;
use super::values::{http_url, word};
use crate::clock::SystemClock;

/// What is logged, and where to.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoggingSettings {
    /// The least level that is logged
    #[arg(long, env, hide_env_values = true, value_name = "LEVEL", default_value = "info")]
    log_level: LogLevel,

    /// What log records look like [default: pretty on a terminal, else json]
    #[arg(long, env, hide_env_values = true, value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    /// The `service` of every log record: letters, digits, - and _
    #[arg(long, env, hide_env_values = true, value_name = "NAME", default_value = "payment-callback",
          value_parser = service_name)]
    service_name: String,

    /// The central logging service, which gets every record as well; the base of its URL [default: none]
    #[arg(long, env, hide_env_values = true, value_name = "URL", value_parser = logging_service_url)]
    logging_service_url: Option<Url>,

    /// The path at which it takes records
    #[arg(long, env, hide_env_values = true, value_name = "PATH", default_value = "/api/logs",
          value_parser = logging_service_api_path)]
    logging_service_api_path: String,
}

impl LoggingSettings {
    /// For a log that goes into this stream.
    pub(crate) fn for_log_into(self, stream: &impl IsTerminal) -> LogSettings {
        let central = self.central();
        let terminal = stream.is_terminal();
        let format = match self.log_format {
            Some(LogFormat::Json) => Format::Json,
            None if !terminal => Format::Json,
            // What https://no-color.org asks for.
            _ => Format::Pretty { coloured: terminal && environment("NO_COLOR").is_none() },
        };
        let now = || SystemClock.now();
        LogSettings { level: self.log_level.into(), service: self.service_name, format, central, now }
    }

    /// Warns if logging-microservice takes the records for its own, which it stores and does not show (neighbours.md).
    pub(crate) fn warn_of_hidden_records(&self, log: &Logger) {
        let Self { service_name, logging_service_url, .. } = self;
        let name = service_name.to_ascii_lowercase();
        if logging_service_url.is_some() && ["error", "application"].iter().any(|word| name.contains(word)) {
            warn!(log, "logging-microservice will not show these records"; "variable" => "SERVICE_NAME",
                "reason" => "its queries leave out services whose names contain error or application");
        }
    }

    fn central(&self) -> Option<CentralSettings> {
        let base = self.logging_service_url.as_ref()?;
        let mut url = base.clone();
        url.set_path(&format!("{}{}", base.path().trim_end_matches('/'), self.logging_service_api_path));
        Some(CentralSettings::new(url))
    }
}

/// None of them is a secret.
impl KV for LoggingSettings {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let Self { log_level, log_format, service_name: _, logging_service_url, logging_service_api_path } = self;
        // From the last to the first, as slog goes through keys.
        if let Some(url) = logging_service_url {
            serializer.emit_str("logging_service_api_path", logging_service_api_path)?;
            serializer.emit_str("logging_service_url", url.as_str())?;
        }
        if let Some(format) = log_format {
            serializer.emit_str("log_format", &word(format))?;
        }
        serializer.emit_str("log_level", &word(log_level))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// JSON, one record a line
    Json,
    /// Lines for people
    Pretty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Failures
    Error,
    /// What is suspicious or refused
    Warn,
    /// What the service does
    Info,
    /// How it does it
    Debug,
}

impl From<LogLevel> for slog::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warning,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
        }
    }
}

fn logging_service_url(text: &str) -> Result<Url, &'static str> {
    let url = http_url(text)?;
    if !url.username().is_empty() || url.password().is_some() {
        Err("must hold no user and no password")
    } else if url.query().is_some() || url.fragment().is_some() {
        Err("must end with its path: no ? and no #")
    } else {
        Ok(url)
    }
}

fn logging_service_api_path(text: &str) -> Result<String, &'static str> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
    if text.starts_with('/') && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("must be a path that begins with /, without spaces, ? and #")
    }
}

fn service_name(text: &str) -> Result<String, &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 64 letters, digits, - and _")
    }
}
