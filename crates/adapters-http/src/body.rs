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
pub(crate) async fn read_body(headers: &HeaderMap, mut payload: Payload, bytes_max: usize) -> Result<Bytes, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(Problem::payload_too_large(bytes_max));
    }
    let mut body = BytesMut::with_capacity(announced.unwrap_or_default());
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Problem::incomplete_payload())?;
        if body.len() + chunk.len() > bytes_max {
            return Err(Problem::payload_too_large(bytes_max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
