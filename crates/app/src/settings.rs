//! Where settings come from: the command line, the environment, a `.env` file, the defaults, in this order.
//! Keys and secrets, and the database's URL that may hold one, come from the environment alone.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{ErrorKind, IsTerminal};
use std::time::Duration;

use adapters_http::{ApiKeys, SigningSecrets, WebhookAuthentication, is_quoted};
use adapters_logging::{CentralSettings, Format, LogSettings};
use clap::{Args, ValueEnum};
use ports::Clock as _;
use secrecy::SecretString;
use slog::{KV, Logger, Record, Serializer, warn};
use url::Url;

use crate::clock::SystemClock;
use crate::store::DatabaseUrl;

/// Settings are bad or missing: a line for each, which names it and never shows its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines.join("\n"))]
pub(crate) struct SettingsError {
    lines: Vec<String>,
}

impl SettingsError {
    pub(crate) fn new(variable: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self { lines: vec![format!("{variable} {reason}")] }
    }

    fn and(mut self, other: Self) -> Self {
        self.lines.extend(other.lines);
        self
    }
}

/// Both values, or what is wrong with either.
pub(crate) fn both<A, B>(
    one: Result<A, SettingsError>,
    other: Result<B, SettingsError>,
) -> Result<(A, B), SettingsError> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(one), Err(other)) => Err(one.and(other)),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
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

    /// The keys and secrets, and where the ledger is.
    pub(crate) fn secrets(&self) -> Result<Secrets, SettingsError> {
        Secrets::read(self.webhook_auth)
    }

    /// Warns if logging-microservice takes the records for its own, which it stores and does not show (neighbours.md).
    pub(crate) fn warn_of_hidden_records(&self, log: &Logger) {
        let LoggingSettings { service_name, logging_service_url, .. } = &self.logging;
        let name = service_name.to_ascii_lowercase();
        if logging_service_url.is_some() && ["error", "application"].iter().any(|word| name.contains(word)) {
            warn!(log, "logging-microservice will not show these records"; "variable" => "SERVICE_NAME",
                "reason" => "its queries leave out services whose names contain error or application");
        }
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

    fn central(&self) -> Option<CentralSettings> {
        let base = self.logging_service_url.as_ref()?;
        let mut url = base.clone();
        url.set_path(&format!("{}{}", base.path().trim_end_matches('/'), self.logging_service_api_path));
        Some(CentralSettings::new(url))
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
pub(crate) enum WebhookAuth {
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

/// What `serve` takes from the environment alone.
pub(crate) struct Secrets {
    pub(crate) database_url: DatabaseUrl,
    pub(crate) webhook_authentication: WebhookAuthentication,
    pub(crate) portal_keys: ApiKeys,
    pub(crate) operator_keys: ApiKeys,
}

/// What kinds of keys there are and how many, for the log.
impl KV for Secrets {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let Self { database_url, webhook_authentication, portal_keys, operator_keys } = self;
        // From the last to the first, as slog goes through keys.
        serializer.emit_arguments("operator_keys", &format_args!("{operator_keys:?}"))?;
        serializer.emit_arguments("portal_keys", &format_args!("{portal_keys:?}"))?;
        serializer.emit_arguments("callback_keys", &format_args!("{webhook_authentication:?}"))?;
        serializer.emit_arguments("database", &format_args!("{database_url}"))
    }
}

impl Secrets {
    pub(crate) fn read(webhook_auth: WebhookAuth) -> Result<Self, SettingsError> {
        let ((database_url, webhook_authentication), (portal_keys, operator_keys)) = both(
            both(database_url(), webhook_authentication(webhook_auth)),
            both(api_keys("PORTAL_API_KEY", "portal"), api_keys("OPERATOR_API_KEY", "operator")),
        )?;
        Ok(Self { database_url, webhook_authentication, portal_keys, operator_keys })
    }

    /// Warns of keys that protect less than they should, by their names.
    pub(crate) fn warn_of_weak_keys(&self, log: &Logger) {
        let Self { database_url: _, webhook_authentication, portal_keys, operator_keys } = self;
        let payment_keys = webhook_authentication.keys().map(|keys| ("PAYMENT_API_KEY", keys));
        let portal_keys = ("PORTAL_API_KEY", portal_keys);
        for (variable, keys) in payment_keys.into_iter().chain([portal_keys, ("OPERATOR_API_KEY", operator_keys)]) {
            for name in keys.short() {
                warn!(log, "a key is short enough to be guessed"; "variable" => variable,
                    "key_name" => name.as_str());
            }
        }
        // A caller that registers and calls back has one key for both; operators' calls show and replay everything.
        for (variable, keys) in payment_keys.into_iter().chain([portal_keys]) {
            for name in operator_keys.shared_with(keys) {
                warn!(log, "an operator's key is another caller's too"; "variable" => variable,
                    "key_name" => name.as_str());
            }
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
            set_variable(name.as_ref(), Some(&value));
        }
    }
    Ok(())
}

/// Drops the white space around the values of these variables, and removes those that are then empty.
pub(crate) fn trim_variables<'a>(names: impl Iterator<Item = &'a OsStr>) -> Result<(), SettingsError> {
    let mut trimmed = Ok(());
    for name in names {
        let value = variable(name);
        // One that is no text is removed, for clap would not name it.
        set_variable(name, value.as_ref().ok().and_then(Option::as_deref));
        trimmed = both(trimmed, value).map(drop);
    }
    trimmed
}

fn set_variable(name: &OsStr, value: Option<&str>) {
    // SAFETY: the environment must not change while another thread reads it, and there is no other thread until a
    // command runs.
    #[expect(unsafe_code, reason = "clap reads variables from the environment alone")]
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, value),
            None => std::env::remove_var(name),
        }
    }
}

/// A variable of the environment; one that is empty, or nothing but white space, is unset.
pub(crate) fn environment(name: impl AsRef<OsStr>) -> Option<OsString> {
    #[expect(clippy::disallowed_methods, reason = "this is where settings are read")]
    std::env::var_os(name).filter(|value| value.to_str().is_none_or(|value| !value.trim().is_empty()))
}

/// The same as text, without the white space around it.
fn variable(name: impl AsRef<OsStr>) -> Result<Option<String>, SettingsError> {
    let name = name.as_ref();
    let not_utf8 = |_| SettingsError::new(name.display(), "must be UTF-8");
    let value = environment(name).map(OsString::into_string).transpose().map_err(not_utf8)?;
    Ok(value.map(|value| value.trim().to_owned()))
}

pub(crate) fn database_url() -> Result<DatabaseUrl, SettingsError> {
    let url = variable("DATABASE_URL")?;
    DatabaseUrl::parse(url.as_deref().unwrap_or("sqlite://data/payment-callback.sqlite3"))
        .map_err(|reason| SettingsError::new("DATABASE_URL", reason))
}

/// What callbacks must bear. Fails closed: what is asked for must be there, and what is there must be good.
fn webhook_authentication(webhook_auth: WebhookAuth) -> Result<WebhookAuthentication, SettingsError> {
    let (keys, secrets) = (payment_keys(), signing_secrets());
    let keys_required = |keys: Option<_>| keys.ok_or_else(|| SettingsError::new("PAYMENT_API_KEY", "is not set"));
    let secrets_required =
        |secrets: Option<_>| secrets.ok_or_else(|| SettingsError::new("PAYMENT_WEBHOOK_SECRET", "is not set"));
    match webhook_auth {
        WebhookAuth::ApiKey => {
            both(keys.and_then(keys_required), secrets).map(|(keys, _)| WebhookAuthentication::ApiKey(keys))
        }
        WebhookAuth::Signature => {
            both(keys, secrets.and_then(secrets_required)).map(|(_, secrets)| WebhookAuthentication::Signature(secrets))
        }
        WebhookAuth::Both => both(keys.and_then(keys_required), secrets.and_then(secrets_required))
            .map(|(keys, secrets)| WebhookAuthentication::Both(keys, secrets)),
    }
}

fn payment_keys() -> Result<Option<ApiKeys>, SettingsError> {
    api_keys("PAYMENT_API_KEY", "payment").map(|keys| Some(keys).filter(|keys| !keys.is_empty()))
}

/// The keys of a group of callers; without any, nobody may call.
fn api_keys(name: &str, group: &str) -> Result<ApiKeys, SettingsError> {
    let keys = variable(name)?.unwrap_or_default();
    ApiKeys::parse(group, &keys.into()).map_err(|error| SettingsError::new(name, error))
}

fn signing_secrets() -> Result<Option<SigningSecrets>, SettingsError> {
    let secrets = variable("PAYMENT_WEBHOOK_SECRET")?.map(|secrets| SigningSecrets::parse(&secrets.into()));
    secrets.transpose().map_err(|error| SettingsError::new("PAYMENT_WEBHOOK_SECRET", error))
}

/// What a sender proves itself with: of several keys and of several secrets, the first.
pub(crate) struct SenderCredentials {
    pub(crate) key: Option<SecretString>,
    pub(crate) signing_secret: Option<SecretString>,
}

impl SenderCredentials {
    pub(crate) fn read() -> Result<Self, SettingsError> {
        let (keys, secrets) = both(payment_keys(), signing_secrets())?;
        if keys.is_none() && secrets.is_none() {
            return Err(SettingsError::new("PAYMENT_API_KEY", "is not set"));
        }
        let keys = variable("PAYMENT_API_KEY")?.unwrap_or_default();
        let secrets = variable("PAYMENT_WEBHOOK_SECRET")?.unwrap_or_default();
        let key = keys.split(',').map(str::trim).find(|key| !key.is_empty()).map(Into::into);
        Ok(Self { key, signing_secret: secrets.split_whitespace().next().map(Into::into) })
    }
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

pub(crate) fn http_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && !is_quoted(text));
    url.ok_or("must be an http:// or https:// URL without quotes")
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
