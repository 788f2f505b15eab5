//! Bodies, bounded.

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt as _;

use crate::problem::Problem;

/// The largest body, in bytes.
pub(crate) struct BodyBytesMax(pub(crate) usize);

/// Bodies must be JSON; payment gateways post forms to the same address.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mime: Option<mime::Mime> = content_type.and_then(|text| text.parse().ok());
    match mime {
        Some(mime) if mime.essence_str() == mime::APPLICATION_JSON.essence_str() => Ok(()),
        _ => Err(Problem::unsupported_media_type()),
    }
}

/// Reads a body of at most so many bytes. One that is announced as larger is not read at all.
///
/// An offer to upgrade the connection is ignored, but actix-http takes what follows `Upgrade: websocket` for a
/// stream without an end. So the body ends here where its `Content-Length` says; without one, and without chunks,
/// there is none (RFC 9112, section 6.3).
pub(crate) async fn read_body(headers: &HeaderMap, mut payload: Payload, bytes_max: usize) -> Result<Bytes, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(Problem::payload_too_large(bytes_max));
    }
    let upgrade = headers.contains_key(header::UPGRADE) && !headers.contains_key(header::TRANSFER_ENCODING);
    let length = announced.or(upgrade.then_some(0));
    let mut body = BytesMut::with_capacity(announced.unwrap_or_default());
    while length.is_none_or(|length| body.len() < length)
        && let Some(chunk) = payload.next().await
    {
        let mut chunk = chunk.map_err(|_| Problem::incomplete_payload())?;
        chunk.truncate(length.map_or(usize::MAX, |length| length - body.len()));
        if body.len() + chunk.len() > bytes_max {
            return Err(Problem::payload_too_large(bytes_max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
