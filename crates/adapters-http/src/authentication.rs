//! Who may call: by key or by signature. Nothing here can be printed.

use std::fmt;
use std::future::{Ready, ready};
use std::marker::PhantomData;

use actix_web::http::header::HeaderMap;
use actix_web::web::{Data, Payload};
use actix_web::{FromRequest, HttpRequest, dev};
use domain::KeyName;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use signatures::SigningSecret;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use subtle::ConstantTimeEq as _;
use usecases::Caller;

use crate::body::{Body, read_body, require_json};
use crate::credential::Credential;
use crate::middleware::Context;
use crate::problem::Problem;
use crate::request_log::RequestLog;

const API_KEY: &str = "X-API-Key";

/// Shorter keys can be guessed.
const KEY_CHARACTERS_MIN: usize = 16;

/// The keys of one group of callers; only their digests are kept. Without any, every call is refused.
#[derive(Clone, Default)]
pub struct ApiKeys {
    keys: Vec<ApiKey>,
}

#[derive(Clone)]
struct ApiKey {
    digest: [u8; 32],
    credential: Credential,
    short: bool,
}

/// A key that no header can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be printable ASCII without quotes around it, or several of these separated by commas")]
pub struct ApiKeyError;

impl ApiKeys {
    /// Reads keys separated by commas. The group (`payment`, `portal`, `operator`) labels them in the metrics.
    ///
    /// # Errors
    /// [`ApiKeyError`] if a key stands in quotes, which some tools keep, or holds what a header cannot.
    pub fn parse(group: &str, keys: &SecretString) -> Result<Self, ApiKeyError> {
        let keys = keys.expose_secret().split(',').map(str::trim).filter(|key| !key.is_empty());
        let read = |(before, key): (usize, &str)| {
            if is_quoted(key) || !key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
                return Err(ApiKeyError);
            }
            let digest = sha256(key);
            let credential = Credential::new(group, before, &digest);
            Ok(ApiKey { digest, credential, short: key.len() < KEY_CHARACTERS_MIN })
        };
        Ok(Self { keys: keys.enumerate().map(read).collect::<Result<_, _>>()? })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What this key is called, if it is one of them.
    #[must_use]
    pub fn name_of(&self, key: &[u8]) -> Option<&KeyName> {
        self.find(key).map(|credential| &credential.name)
    }

    /// The names of the keys that are short enough to be guessed.
    pub fn short(&self) -> impl Iterator<Item = &KeyName> {
        self.keys.iter().filter(|key| key.short).map(|key| &key.credential.name)
    }

    /// The names of the keys that are among the others, too.
    pub fn shared_with(&self, others: &Self) -> impl Iterator<Item = &KeyName> {
        let shared = |key: &&ApiKey| others.keys.iter().any(|other| other.digest == key.digest);
        self.keys.iter().filter(shared).map(|key| &key.credential.name)
    }

    /// What the keys are called in the metrics.
    pub(crate) fn labels(&self) -> Vec<&str> {
        self.keys.iter().map(|key| &*key.credential.label).collect()
    }

    fn find(&self, key: &[u8]) -> Option<&Credential> {
        let digest = sha256(key);
        // Every key is looked at, and each in constant time.
        let mut found = None;
        for known in &self.keys {
            if bool::from(known.digest.ct_eq(&digest)) {
                found = Some(&known.credential);
            }
        }
        found
    }

    /// The key in the request.
    fn authenticate(&self, headers: &HeaderMap) -> Result<&Credential, Problem> {
        let mut given = headers.get_all(API_KEY);
        let (Some(key), None) = (given.next(), given.next()) else {
            return Err(Problem::unauthorized("one X-API-Key header is needed"));
        };
        self.find(key.as_bytes()).ok_or_else(|| Problem::unauthorized("the X-API-Key is not known here"))
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} keys", self.keys.len())
    }
}

/// Whether the text stands in quotes: a tool that does not know them has kept them.
#[must_use]
pub fn is_quoted(text: &str) -> bool {
    text.starts_with(['"', '\'']) || text.ends_with(['"', '\''])
}

/// The keys of the portal's own calls.
pub(crate) struct PortalKeys(pub(crate) ApiKeys);

/// The keys of operators' calls.
pub(crate) struct OperatorKeys(pub(crate) ApiKeys);

impl AsRef<ApiKeys> for PortalKeys {
    fn as_ref(&self) -> &ApiKeys {
        &self.0
    }
}

impl AsRef<ApiKeys> for OperatorKeys {
    fn as_ref(&self) -> &ApiKeys {
        &self.0
    }
}

/// A caller with one of these keys. A handler that takes one is not reached without.
pub(crate) struct Authenticated<Keys> {
    pub(crate) caller: Caller,
    keys: PhantomData<Keys>,
}

impl<Keys: AsRef<ApiKeys> + 'static> FromRequest for Authenticated<Keys> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        let authenticate = || {
            let keys = request.app_data::<Data<Keys>>().ok_or_else(|| Problem::processing_error("no keys"))?;
            let context = Context::of(request)?;
            let key_name = context.log.authentication(keys.as_ref().as_ref().authenticate(request.headers()))?;
            Ok(Self { caller: context.caller(key_name), keys: PhantomData })
        };
        ready(authenticate())
    }
}

/// The secrets that callbacks may be signed with (Standard Webhooks).
pub struct SigningSecrets {
    secrets: Vec<(Credential, Webhook)>,
}

impl SigningSecrets {
    /// Callbacks may be signed with any of these.
    #[must_use]
    pub fn new(secrets: Vec<SigningSecret>) -> Self {
        let named = |(before, secret): (usize, SigningSecret)| {
            (Credential::new("secret", before, &sha256(secret.text.expose_secret())), secret.webhook)
        };
        Self { secrets: secrets.into_iter().enumerate().map(named).collect() }
    }

    /// What the secrets are called in the metrics.
    fn labels(&self) -> Vec<&str> {
        self.secrets.iter().map(|(credential, _)| &*credential.label).collect()
    }

    async fn admit(
        &self,
        headers: &HeaderMap,
        payload: Payload,
        bytes_max: usize,
        log: &RequestLog,
    ) -> Result<(KeyName, Body), Problem> {
        let signature = Self::signature_headers(headers).inspect_err(|problem| log.not_authenticated(problem))?;
        match read_body(headers, payload, bytes_max).await {
            Ok(body) => {
                let name = log.authentication(self.authenticate(&signature, &body))?;
                require_json(headers)?;
                Ok((name, body))
            }
            Err(problem) => {
                require_json(headers)?;
                Err(problem)
            }
        }
    }

    /// The headers that a signature needs, before the body is read.
    fn signature_headers(headers: &HeaderMap) -> Result<http::HeaderMap, Problem> {
        let mut signed = http::HeaderMap::new();
        for name in [HEADER_WEBHOOK_ID, HEADER_WEBHOOK_TIMESTAMP, HEADER_WEBHOOK_SIGNATURE] {
            let mut given = headers.get_all(name);
            let (Some(value), None) = (given.next(), given.next()) else {
                return Err(Problem::unauthorized(format!("one {name} header is needed")));
            };
            let value = http::HeaderValue::from_bytes(value.as_bytes());
            signed.insert(name, value.map_err(|_| Problem::unauthorized(format!("{name} is malformed")))?);
        }
        // Seconds of this age; more digits would overflow where the age is computed.
        let timestamp = signed[HEADER_WEBHOOK_TIMESTAMP].as_bytes();
        if timestamp.len() > 12 || !timestamp.iter().all(u8::is_ascii_digit) {
            return Err(Problem::unauthorized("webhook-timestamp is malformed"));
        }
        Ok(signed)
    }

    /// The secret that the body is signed with. Standard Webhooks signs the payload, which is text, and
    /// not the form that HTTP compresses it to.
    fn authenticate(&self, headers: &http::HeaderMap, body: &Body) -> Result<&Credential, Problem> {
        let payload = body.content.as_ref().map_err(|error| Problem::unauthorized(error.reason.clone()))?;
        let signed = |(_, webhook): &&(Credential, Webhook)| webhook.verify(payload, headers).is_ok();
        let secret = self.secrets.iter().find(signed);
        secret
            .map(|(credential, _)| credential)
            .ok_or_else(|| Problem::unauthorized("the signature is wrong or too old"))
    }
}

impl fmt::Debug for SigningSecrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} secrets", self.secrets.len())
    }
}

/// How a callback is authenticated: by a key, a signature, or both.
#[derive(Debug)]
pub enum WebhookAuthentication {
    /// `X-API-Key`.
    ApiKey(ApiKeys),
    /// A signature (Standard Webhooks).
    Signature(SigningSecrets),
    /// Each of them.
    Both(ApiKeys, SigningSecrets),
}

impl WebhookAuthentication {
    /// Authenticates a callback and reads its body. What the headers can prove is proved first; a signature
    /// needs the body, up to its limit.
    pub(crate) async fn admit(
        &self,
        headers: &HeaderMap,
        payload: Payload,
        bytes_max: usize,
        log: &RequestLog,
    ) -> Result<(KeyName, Body), Problem> {
        match self {
            Self::ApiKey(keys) => {
                let name = log.authentication(keys.authenticate(headers))?;
                require_json(headers)?;
                Ok((name, read_body(headers, payload, bytes_max).await?))
            }
            Self::Signature(secrets) => secrets.admit(headers, payload, bytes_max, log).await,
            Self::Both(keys, secrets) => {
                let name = log.authentication(keys.authenticate(headers))?;
                let (_, body) = secrets.admit(headers, payload, bytes_max, log).await?;
                Ok((name, body))
            }
        }
    }

    /// The keys of callbacks, if they need one.
    #[must_use]
    pub fn keys(&self) -> Option<&ApiKeys> {
        match self {
            Self::ApiKey(keys) | Self::Both(keys, _) => Some(keys),
            Self::Signature(_) => None,
        }
    }

    /// What the keys and secrets are called in the metrics.
    pub(crate) fn labels(&self) -> Vec<&str> {
        match self {
            Self::ApiKey(keys) => keys.labels(),
            Self::Signature(secrets) => secrets.labels(),
            Self::Both(keys, secrets) => [keys.labels(), secrets.labels()].concat(),
        }
    }
}

fn sha256(text: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(text).into()
}
