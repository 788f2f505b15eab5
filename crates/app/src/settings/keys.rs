//! Keys and secrets of callers, and of `send`.

use std::sync::Arc;

use adapters_http::{ApiKeys, SigningSecrets, WebhookAuthentication};
use clap::ValueEnum;
use secrecy::SecretString;
use signatures::{SigningSecret, parse_signing_secrets};
use slog::{KV, Logger, Record, Serializer, warn};

use super::database::{DATABASE_URL, DatabaseUrl, database_url};
use super::environment::{SettingsError, Variable, both, help_of};

const PAYMENT_API_KEY: Variable = Variable {
    name: "PAYMENT_API_KEY",
    help: "key(s) of callbacks, in X-API-Key, separated by commas;\nrequired unless WEBHOOK_AUTH=signature",
    default: None,
};

const PAYMENT_WEBHOOK_SECRET: Variable = Variable {
    name: "PAYMENT_WEBHOOK_SECRET",
    help: "whsec_… secret(s) of signed callbacks, separated by spaces;\nrequired unless WEBHOOK_AUTH=api-key",
    default: None,
};

const PORTAL_API_KEY: Variable = Variable {
    name: "PORTAL_API_KEY",
    help: "key(s) of the portal's own calls; unset: they answer 401",
    default: None,
};

const OPERATOR_API_KEY: Variable =
    Variable { name: "OPERATOR_API_KEY", help: "key(s) of operators' calls; unset: they answer 401", default: None };

const PORTAL_EVENTS_SECRET: Variable = Variable {
    name: "PORTAL_EVENTS_SECRET",
    help: "whsec_… secret(s) that sign events to the portal, separated by\nspaces; required with PORTAL_EVENTS_URL",
    default: None,
};

/// What `serve` takes from the environment alone. All other settings are options as well.
pub(crate) const VARIABLES: [Variable; 6] =
    [DATABASE_URL, PAYMENT_API_KEY, PAYMENT_WEBHOOK_SECRET, PORTAL_API_KEY, OPERATOR_API_KEY, PORTAL_EVENTS_SECRET];

/// What `--help` says of [`VARIABLES`].
pub(crate) fn secrets_help() -> String {
    help_of("Settings that are no options, from the environment", &VARIABLES)
}

/// What `--help` says of the one secret that signs events.
pub(crate) fn portal_events_help() -> String {
    help_of("Needs from the environment", &[PORTAL_EVENTS_SECRET])
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

/// What `serve` takes from the environment alone.
pub(crate) struct Secrets {
    pub(crate) database_url: Arc<DatabaseUrl>,
    pub(crate) webhook_authentication: WebhookAuthentication,
    pub(crate) portal_keys: ApiKeys,
    pub(crate) operator_keys: ApiKeys,
    /// Those that sign events; empty where none are sent.
    pub(crate) portal_events_secrets: Vec<SigningSecret>,
}

/// What kinds of keys there are and how many, for the log.
impl KV for Secrets {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let Self { database_url, webhook_authentication, portal_keys, operator_keys, portal_events_secrets } = self;
        // From the last to the first, as slog goes through keys.
        serializer.emit_usize("portal_events_secrets", portal_events_secrets.len())?;
        serializer.emit_arguments("operator_keys", &format_args!("{operator_keys:?}"))?;
        serializer.emit_arguments("portal_keys", &format_args!("{portal_keys:?}"))?;
        serializer.emit_arguments("callback_keys", &format_args!("{webhook_authentication:?}"))?;
        serializer.emit_arguments("database", &format_args!("{database_url}"))
    }
}

impl Secrets {
    pub(crate) fn read(webhook_auth: WebhookAuth, sends_events: bool) -> Result<Self, SettingsError> {
        let events = if sends_events { portal_events_secrets() } else { Ok(Vec::new()) };
        let ((database_url, webhook_authentication), ((portal_keys, operator_keys), portal_events_secrets)) = both(
            both(database_url(), webhook_authentication(webhook_auth)),
            both(both(api_keys(PORTAL_API_KEY, "portal"), api_keys(OPERATOR_API_KEY, "operator")), events),
        )?;
        let database_url = Arc::new(database_url);
        Ok(Self { database_url, webhook_authentication, portal_keys, operator_keys, portal_events_secrets })
    }

    /// Warns of keys that protect less than they should, by their names.
    pub(crate) fn warn_of_weak_keys(&self, log: &Logger) {
        let Self { webhook_authentication, portal_keys, operator_keys, .. } = self;
        let payment_keys = webhook_authentication.keys().map(|keys| (PAYMENT_API_KEY, keys));
        let portal_keys = (PORTAL_API_KEY, portal_keys);
        for (variable, keys) in payment_keys.into_iter().chain([portal_keys, (OPERATOR_API_KEY, operator_keys)]) {
            for name in keys.short() {
                warn!(log, "a key is short enough to be guessed"; "variable" => variable.name,
                    "key_name" => name.as_str());
            }
        }
        // A caller that registers and calls back has one key for both; operators' calls show and replay everything.
        for (variable, keys) in payment_keys.into_iter().chain([portal_keys]) {
            for name in operator_keys.shared_with(keys) {
                warn!(log, "an operator's key is another caller's too"; "variable" => variable.name,
                    "key_name" => name.as_str());
            }
        }
    }
}

/// How callbacks are authenticated. Fails closed: what is required must be set, and what is set must be valid.
fn webhook_authentication(webhook_auth: WebhookAuth) -> Result<WebhookAuthentication, SettingsError> {
    let (keys, secrets) = (payment_keys(), signing_secrets());
    let keys_required = |keys: Option<_>| keys.ok_or_else(|| PAYMENT_API_KEY.error("is not set"));
    let secrets_required = |secrets: Option<_>| secrets.ok_or_else(|| PAYMENT_WEBHOOK_SECRET.error("is not set"));
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
    api_keys(PAYMENT_API_KEY, "payment").map(|keys| Some(keys).filter(|keys| !keys.is_empty()))
}

/// The keys of a group of callers; without any, every call is refused.
fn api_keys(variable: Variable, group: &str) -> Result<ApiKeys, SettingsError> {
    let keys = variable.read()?.unwrap_or_default();
    ApiKeys::parse(group, &keys.into()).map_err(|error| variable.error(error))
}

fn signing_secrets() -> Result<Option<SigningSecrets>, SettingsError> {
    Ok(secrets_of(PAYMENT_WEBHOOK_SECRET)?.map(SigningSecrets::new))
}

/// The secrets that sign events to the portal.
pub(crate) fn portal_events_secrets() -> Result<Vec<SigningSecret>, SettingsError> {
    secrets_of(PORTAL_EVENTS_SECRET)?.ok_or_else(|| PORTAL_EVENTS_SECRET.error("is not set"))
}

fn secrets_of(variable: Variable) -> Result<Option<Vec<SigningSecret>>, SettingsError> {
    let secrets = variable.read()?.map(|secrets| parse_signing_secrets(&secrets.into()));
    secrets.transpose().map_err(|error| variable.error(error))
}

/// What a sender proves itself with: of several keys and of several secrets, the first.
pub(crate) struct SenderCredentials {
    pub(crate) key: Option<SecretString>,
    pub(crate) signing_secret: Option<SigningSecret>,
}

impl SenderCredentials {
    pub(crate) fn read() -> Result<Self, SettingsError> {
        let (keys, secrets) = both(payment_keys(), secrets_of(PAYMENT_WEBHOOK_SECRET))?;
        if keys.is_none() && secrets.is_none() {
            return Err(PAYMENT_API_KEY.error("is not set"));
        }
        let keys = PAYMENT_API_KEY.read()?.unwrap_or_default();
        let key = keys.split(',').map(str::trim).find(|key| !key.is_empty()).map(Into::into);
        Ok(Self { key, signing_secret: secrets.and_then(|secrets| secrets.into_iter().next()) })
    }
}
