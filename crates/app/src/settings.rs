//! Where settings come from: the command line, the environment, a `.env` file, the defaults, in this order.
//! Keys and secrets, and the database's URL that may hold one, come from the environment alone.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, IsTerminal};
use std::time::Duration;

use adapters_http::{ApiKeys, SigningSecrets, WebhookAuthentication};
use adapters_logging::{CentralSettings, Format, LogSettings};
use clap::{Args, ValueEnum};
use ports::Clock as _;
use secrecy::SecretString;
use slog::{KV, Record, Serializer};
use url::Url;

use crate::clock::SystemClock;
use crate::store::DatabaseUrl;

/// A setting is bad or missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {reason}")]
pub(crate) struct SettingsError {
    variable: &'static str,
    reason: String,
}

impl SettingsError {
    pub(crate) fn new(variable: &'static str, reason: impl Into<String>) -> Self {
        Self { variable, reason: reason.into() }
    }
}

/// What `--help` says of the settings that are no options.
pub(crate) const SECRETS_HELP: &str = "\
Settings that only the environment (or a .env file in the working directory) gives:
  DATABASE_URL            the ledger, postgres://… or sqlite://PATH (made if absent)
                          [default: sqlite://data/payment-callback.sqlite3]
  PAYMENT_API_KEY         key(s) that a callback must bear in X-API-Key, separated by commas;
                          required unless WEBHOOK_AUTH=signature
  PAYMENT_WEBHOOK_SECRET  whsec_… secret(s) of signed callbacks, separated by spaces;
                          required unless WEBHOOK_AUTH=api-key
  PORTAL_API_KEY          key(s) of the portal's own calls; unset: they answer 401
  OPERATOR_API_KEY        key(s) of operators' calls; unset: they answer 401";

/// What `--help` says of the one setting that a command on the ledger needs.
pub(crate) const DATABASE_HELP: &str = "\
Needs from the environment (or a .env file in the working directory):
  DATABASE_URL            the ledger, postgres://… or sqlite://PATH
                          [default: sqlite://data/payment-callback.sqlite3]";

/// How the database is waited for.
#[derive(Debug, Clone, Args)]
pub(crate) struct DatabaseWait {
    /// How long the start waits for the database, in seconds
    #[arg(long, env, hide_env_values = true, value_name = "SECONDS", default_value = "30",
          value_parser = whole_number::<0, 3600>)]
    database_wait_s: u64,
}

impl DatabaseWait {
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.database_wait_s)
    }
}

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

    /// What a callback must bear
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
    pub(crate) logging: LoggingSettings,
}

impl ServiceSettings {
    pub(crate) fn response_deadline(&self) -> Duration {
        Duration::from_millis(self.response_deadline_ms)
    }

    pub(crate) fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.keep_alive_s)
    }

    /// What callbacks must bear. Fails closed: what is asked for must be there.
    pub(crate) fn webhook_authentication(&self) -> Result<WebhookAuthentication, SettingsError> {
        Ok(match self.webhook_auth {
            WebhookAuth::ApiKey => WebhookAuthentication::ApiKey(payment_keys()?),
            WebhookAuth::Signature => WebhookAuthentication::Signature(signing_secrets()?),
            WebhookAuth::Both => WebhookAuthentication::Both(payment_keys()?, signing_secrets()?),
        })
    }
}

/// The settings in force, for the log. None of them is a secret.
impl KV for ServiceSettings {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let Self {
            database_pool_size,
            bind_address,
            webhook_auth,
            response_deadline_ms,
            body_bytes_max,
            intake_queue_max,
            keep_alive_s,
            logging:
                LoggingSettings { log_level, log_format, service_name: _, logging_service_url, logging_service_api_path },
        } = self;
        // From the last to the first, as slog goes through keys.
        if let Some(url) = logging_service_url {
            serializer.emit_str("logging_service_api_path", logging_service_api_path)?;
            serializer.emit_str("logging_service_url", url.as_str())?;
        }
        if let Some(format) = log_format {
            serializer.emit_str("log_format", &word(format))?;
        }
        serializer.emit_str("log_level", &word(log_level))?;
        serializer.emit_u64("keep_alive_s", *keep_alive_s)?;
        serializer.emit_u64("intake_queue_max", *intake_queue_max)?;
        serializer.emit_u64("body_bytes_max", *body_bytes_max)?;
        serializer.emit_u64("response_deadline_ms", *response_deadline_ms)?;
        serializer.emit_str("webhook_auth", &word(webhook_auth))?;
        serializer.emit_str("bind_address", bind_address)?;
        serializer.emit_u64("database_pool_size", *database_pool_size)
    }
}

/// The word that stands for a value on the command line.
fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

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
    pub(crate) fn for_log_into(self, stream: &impl IsTerminal) -> Result<LogSettings, SettingsError> {
        let central = self.central()?;
        let terminal = stream.is_terminal();
        let format = match self.log_format {
            Some(LogFormat::Json) => Format::Json,
            None if !terminal => Format::Json,
            // What https://no-color.org asks for.
            _ => Format::Pretty { coloured: terminal && environment("NO_COLOR").is_none() },
        };
        let now = || SystemClock.now();
        Ok(LogSettings { level: self.log_level.into(), service: self.service_name, format, central, now })
    }

    fn central(&self) -> Result<Option<CentralSettings>, SettingsError> {
        let Some(base) = &self.logging_service_url else {
            return Ok(None);
        };
        let name = self.service_name.to_ascii_lowercase();
        if ["error", "application"].iter().any(|word| name.contains(word)) {
            let reason = "must not contain \"error\" or \"application\", for LOGGING_SERVICE_URL is set and \
                          logging-microservice refuses such records";
            return Err(SettingsError::new("SERVICE_NAME", reason));
        }
        let mut url = base.clone();
        url.set_path(&format!("{}{}", base.path().trim_end_matches('/'), self.logging_service_api_path));
        Ok(Some(CentralSettings::new(url)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// JSON, one record a line
    Json,
    /// Lines for people
    Pretty,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum WebhookAuth {
    /// A key in X-API-Key
    ApiKey,
    /// A signature (Standard Webhooks)
    Signature,
    /// Each of them
    Both,
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

/// Sets what the `.env` file gives and the environment does not.
pub(crate) fn load_dotenv() -> Result<(), dotenvy::Error> {
    let variables = match dotenvy::from_path_iter(".env") {
        Err(dotenvy::Error::Io(error)) if error.kind() == ErrorKind::NotFound => return Ok(()),
        variables => variables?.collect::<Result<Vec<_>, _>>()?,
    };
    for (name, value) in variables {
        if value.contains('\0') {
            // No variable can hold it.
            return Err(dotenvy::Error::Io(ErrorKind::InvalidData.into()));
        }
        if environment(&name).is_none() {
            // SAFETY: the environment must not change while another thread reads it, and there is no other
            // thread until a command runs.
            #[expect(unsafe_code, reason = "clap reads variables from the environment alone")]
            unsafe {
                std::env::set_var(name, value);
            }
        }
    }
    Ok(())
}

/// A variable of the environment; an empty one is unset.
pub(crate) fn environment(name: impl AsRef<OsStr>) -> Option<OsString> {
    #[expect(clippy::disallowed_methods, reason = "this is where settings are read")]
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn variable(name: &'static str) -> Result<Option<String>, SettingsError> {
    environment(name).map(OsString::into_string).transpose().map_err(|_| SettingsError::new(name, "must be UTF-8"))
}

pub(crate) fn database_url() -> Result<DatabaseUrl, SettingsError> {
    let url = variable("DATABASE_URL")?;
    DatabaseUrl::parse(url.as_deref().unwrap_or("sqlite://data/payment-callback.sqlite3"))
        .map_err(|reason| SettingsError::new("DATABASE_URL", reason))
}

/// The keys of a group of callers; without any, nobody may call.
pub(crate) fn api_keys(name: &'static str) -> Result<ApiKeys, SettingsError> {
    Ok(variable(name)?.map(|keys| ApiKeys::parse(&SecretString::from(keys))).unwrap_or_default())
}

fn payment_keys() -> Result<ApiKeys, SettingsError> {
    let keys = api_keys("PAYMENT_API_KEY")?;
    if keys.is_empty() { Err(SettingsError::new("PAYMENT_API_KEY", "is not set")) } else { Ok(keys) }
}

fn signing_secrets() -> Result<SigningSecrets, SettingsError> {
    let secrets =
        secret("PAYMENT_WEBHOOK_SECRET")?.ok_or_else(|| SettingsError::new("PAYMENT_WEBHOOK_SECRET", "is not set"))?;
    SigningSecrets::parse(&secrets).map_err(|error| SettingsError::new("PAYMENT_WEBHOOK_SECRET", error.to_string()))
}

/// A secret, for those who bear it.
pub(crate) fn secret(name: &'static str) -> Result<Option<SecretString>, SettingsError> {
    Ok(variable(name)?.map(SecretString::from))
}

pub(crate) fn whole_number<const MIN: u64, const MAX: u64>(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number));
    number.ok_or_else(|| format!("must be a whole number from {MIN} to {MAX}"))
}

fn host_and_port(text: &str) -> Result<String, &'static str> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("must be a host and a port, such as 127.0.0.1:8080"),
    }
}

fn logging_service_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or("must be an http:// or https:// URL")?;
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
