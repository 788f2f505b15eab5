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
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use subtle::{Choice, ConstantTimeEq as _};
use usecases::Caller;

use crate::body::{Body, read_body, require_json};
use crate::context::Context;
use crate::journal::Journal;
use crate::problem::Problem;

const API_KEY: &str = "X-API-Key";

/// The keys that one group of callers may bear; only their digests are kept. Without any, nobody may call.
#[derive(Clone, Default)]
pub struct ApiKeys {
    digests: Vec<[u8; 32]>,
}

impl ApiKeys {
    /// Reads keys separated by commas.
    #[must_use]
    pub fn parse(keys: &SecretString) -> Self {
        let keys = keys.expose_secret().split(',').map(str::trim).filter(|key| !key.is_empty());
        Self { digests: keys.map(sha256).collect() }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// What this key is called, if it is one of them.
    #[must_use]
    pub fn name_of(&self, key: &[u8]) -> Option<KeyName> {
        let digest = sha256(key);
        // Every key is looked at, and each in constant time.
        let known = self.digests.iter().fold(Choice::from(0), |known, key| known | key.ct_eq(&digest));
        bool::from(known).then(|| KeyName::from_sha256(&digest))
    }

    /// What the keys are called.
    pub(crate) fn names(&self) -> Vec<KeyName> {
        self.digests.iter().map(KeyName::from_sha256).collect()
    }

    /// The name of the key that the request bears.
    fn authenticate(&self, headers: &HeaderMap) -> Result<KeyName, Problem> {
        let mut given = headers.get_all(API_KEY);
        let (Some(key), None) = (given.next(), given.next()) else {
            return Err(Problem::unauthorized("one X-API-Key header is needed"));
        };
        self.name_of(key.as_bytes()).ok_or_else(|| Problem::unauthorized("the X-API-Key is not known here"))
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} keys", self.digests.len())
    }
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

/// A caller who bears one of these keys. A handler that takes one is not reached by anybody else.
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
            let key_name = context.journal.authentication(keys.as_ref().as_ref().authenticate(request.headers()))?;
            Ok(Self { caller: context.caller(key_name), keys: PhantomData })
        };
        ready(authenticate())
    }
}

/// The secrets that callbacks may be signed with (Standard Webhooks).
pub struct SigningSecrets {
    secrets: Vec<(KeyName, Webhook)>,
}

/// A secret is not `whsec_` and base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be whsec_ and base64, or several of these separated by spaces")]
pub struct SigningSecretError;

impl SigningSecrets {
    /// Reads secrets separated by spaces.
    ///
    /// # Errors
    /// [`SigningSecretError`] if there is none or one is malformed.
    pub fn parse(secrets: &SecretString) -> Result<Self, SigningSecretError> {
        let read = |secret: &str| {
            let encoded = secret.strip_prefix("whsec_").filter(|encoded| !encoded.is_empty());
            let webhook = Webhook::new(encoded.ok_or(SigningSecretError)?).map_err(|_| SigningSecretError)?;
            Ok((KeyName::from_sha256(&sha256(secret)), webhook))
        };
        let secrets: Vec<_> = secrets.expose_secret().split_whitespace().map(read).collect::<Result<_, _>>()?;
        if secrets.is_empty() { Err(SigningSecretError) } else { Ok(Self { secrets }) }
    }

    /// What the secrets are called.
    fn names(&self) -> Vec<KeyName> {
        self.secrets.iter().map(|(name, _)| name.clone()).collect()
    }

    async fn admit(
        &self,
        headers: &HeaderMap,
        payload: Payload,
        bytes_max: usize,
        journal: &Journal,
    ) -> Result<(KeyName, Body), Problem> {
        let signature = Self::signature_headers(headers).inspect_err(|problem| journal.not_authenticated(problem))?;
        match read_body(headers, payload, bytes_max).await {
            Ok(body) => {
                let name = journal.authentication(self.authenticate(&signature, &body))?;
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

    /// The name of the secret that the body is signed with. Standard Webhooks signs the payload, which is text, and
    /// not the form that HTTP compresses it to.
    fn authenticate(&self, headers: &http::HeaderMap, body: &Body) -> Result<KeyName, Problem> {
        let payload = body.content.as_ref().map_err(|error| Problem::unauthorized(error.reason.clone()))?;
        let signed = |(_, webhook): &&(KeyName, Webhook)| webhook.verify(payload, headers).is_ok();
        let secret = self.secrets.iter().find(signed);
        secret.map(|(name, _)| name.clone()).ok_or_else(|| Problem::unauthorized("the signature is wrong or too old"))
    }
}

impl fmt::Debug for SigningSecrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} secrets", self.secrets.len())
    }
}

/// What a callback must bear: a key, a signature, or both.
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
        journal: &Journal,
    ) -> Result<(KeyName, Body), Problem> {
        match self {
            Self::ApiKey(keys) => {
                let name = journal.authentication(keys.authenticate(headers))?;
                require_json(headers)?;
                Ok((name, read_body(headers, payload, bytes_max).await?))
            }
            Self::Signature(secrets) => secrets.admit(headers, payload, bytes_max, journal).await,
            Self::Both(keys, secrets) => {
                let name = journal.authentication(keys.authenticate(headers))?;
                let (_, body) = secrets.admit(headers, payload, bytes_max, journal).await?;
                Ok((name, body))
            }
        }
    }

    /// What the keys and secrets are called.
    pub(crate) fn names(&self) -> Vec<KeyName> {
        match self {
            Self::ApiKey(keys) => keys.names(),
            Self::Signature(secrets) => secrets.names(),
            Self::Both(keys, secrets) => [keys.names(), secrets.names()].concat(),
        }
    }
}

fn sha256(text: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(text).into()
}
