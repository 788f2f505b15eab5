//! The secrets that webhooks are signed with (Standard Webhooks), and signing with all of them. What is verified, and
//! when, is not decided here.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use standardwebhooks::{Webhook, WebhookError};

/// What Standard Webhooks asks of a secret.
const SECRET_BYTES_MIN: usize = 24;

/// A secret that signs and verifies.
pub struct SigningSecret {
    /// As it is written in the settings.
    pub text: SecretString,
    /// What signs and verifies with it.
    pub webhook: Webhook,
}

/// A secret is not `whsec_` and base64 of enough bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be whsec_ and the base64 of at least 24 bytes, or several of these separated by spaces, without quotes")]
pub struct SigningSecretError;

/// Reads secrets separated by spaces.
///
/// # Errors
/// [`SigningSecretError`] if there is none, one is malformed, or one has fewer than 24 bytes (contract §2).
pub fn parse_signing_secrets(secrets: &SecretString) -> Result<Vec<SigningSecret>, SigningSecretError> {
    let secrets: Vec<_> = secrets.expose_secret().split_whitespace().map(parse).collect::<Result<_, _>>()?;
    if secrets.is_empty() { Err(SigningSecretError) } else { Ok(secrets) }
}

fn parse(secret: &str) -> Result<SigningSecret, SigningSecretError> {
    let encoded = secret.strip_prefix("whsec_").ok_or(SigningSecretError)?;
    // Four characters of base64 are three bytes, and `Webhook` refuses what is not base64.
    if encoded.trim_end_matches('=').len() * 3 / 4 < SECRET_BYTES_MIN {
        return Err(SigningSecretError);
    }
    let webhook = Webhook::new(encoded).map_err(|_| SigningSecretError)?;
    Ok(SigningSecret { text: secret.into(), webhook })
}

/// The value of `webhook-signature`: a signature by each of these secrets. `timestamp` is in Unix seconds.
///
/// # Errors
/// The payload is not UTF-8.
pub fn sign<'a>(
    secrets: impl IntoIterator<Item = &'a SigningSecret>,
    id: &str,
    timestamp: i64,
    payload: &[u8],
) -> Result<String, WebhookError> {
    let signatures = secrets.into_iter().map(|secret| secret.webhook.sign(id, timestamp, payload));
    Ok(signatures.collect::<Result<Vec<_>, _>>()?.join(" "))
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_whsec_and_base64_of_at_least_24_bytes() {
        // 24 bytes are 32 characters, 23 are 31 and padding.
        let (enough, too_few) = ("whsec_".to_owned() + &"A".repeat(32), "whsec_".to_owned() + &"A".repeat(31) + "=");
        let count = |text: &str| parse_signing_secrets(&text.into()).map(|secrets| secrets.len()).ok();
        assert_eq!((count(&enough), count(&format!(" {enough}  {enough}\n"))), (Some(1), Some(2)));
        let bare = "A".repeat(32);
        let not_base64 = "whsec_".to_owned() + &"!".repeat(32);
        for text in ["", " ", &too_few, &bare, &not_base64, &format!("{enough} x"), &format!("'{enough}'")] {
            assert_eq!(count(text), None, "{text:?}");
        }
    }

    #[test]
    fn each_secret_signs() {
        let text = format!("whsec_{} whsec_{}", "A".repeat(32), "B".repeat(32));
        let secrets = parse_signing_secrets(&text.as_str().into()).expect("secrets");
        let signatures = sign(&secrets, "id", 1, b"{}").expect("signatures");
        let alone = |secret| sign([secret], "id", 1, b"{}").expect("a signature");
        assert_eq!(signatures, format!("{} {}", alone(&secrets[0]), alone(&secrets[1])));
        assert_ne!(alone(&secrets[0]), alone(&secrets[1]));
    }
}
