//! Bodies, bounded.

use std::io::Read;

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{Bytes, BytesMut, Payload};
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use futures_util::StreamExt as _;

use crate::problem::Problem;
use crate::wire::FieldError;

/// The largest body, in bytes; of one that is coded, the most that may come out.
pub(crate) struct BodyBytesMax(pub(crate) usize);

/// How the bytes of a body are to be read (RFC 9110 §8.4), of the ways that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentCoding {
    Identity,
    Gzip,
    /// As HTTP has it: with the header and the checksum of zlib.
    Deflate,
}

/// Why what is coded in a body could not be had.
#[derive(Debug, PartialEq, Eq)]
enum DecodeError {
    TooLarge,
    Malformed,
}

impl ContentCoding {
    /// That of the body; `None` if it is none of these, or if there are several, one in another.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut named = headers.get_all(header::CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii());
        let (name, None) = (named.next().unwrap_or_default(), named.next()) else { return None };
        match name.to_ascii_lowercase().as_slice() {
            b"" | b"identity" => Some(Self::Identity),
            b"gzip" => Some(Self::Gzip),
            b"deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    /// How many bytes of it are read at most. What cannot be compressed grows by a few bytes for each block and by a
    /// header, and what comes out is counted only then.
    fn coded_bytes_max(self, bytes_max: usize) -> usize {
        if self == Self::Identity { bytes_max } else { bytes_max.saturating_add(bytes_max / 1024 + 1024) }
    }

    /// What is coded in these bytes, if it has at most so many bytes. No more than those are ever decoded.
    fn decode(self, body: Bytes, bytes_max: usize) -> Result<Bytes, DecodeError> {
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => read_out(MultiGzDecoder::new(&*body), bytes_max),
            Self::Deflate => {
                let mut decoder = ZlibDecoder::new(&*body);
                let decoded = read_out(&mut decoder, bytes_max)?;
                if decoder.get_ref().is_empty() { Ok(decoded) } else { Err(DecodeError::Malformed) }
            }
        }
    }
}

fn read_out(decoder: impl Read, bytes_max: usize) -> Result<Bytes, DecodeError> {
    let mut decoded = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(limit).read_to_end(&mut decoded).map_err(|_| DecodeError::Malformed)?;
    if decoded.len() > bytes_max { Err(DecodeError::TooLarge) } else { Ok(decoded.into()) }
}

/// Bodies must be JSON, in a coding that is known here; payment gateways post forms to the same address.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if media_type.eq_ignore_ascii_case(b"application/json") && ContentCoding::of(headers).is_some() {
        Ok(())
    } else {
        Err(Problem::unsupported_media_type())
    }
}

/// A body that was read.
pub(crate) struct Body {
    /// The bytes as they were sent.
    pub(crate) sent: Bytes,
    /// What is coded in them. In a coding that is not known here, they are left as they are.
    pub(crate) content: Result<Bytes, FieldError>,
}

/// Reads a body of at most so many bytes. One that is announced as larger is not read at all.
///
/// An offer to upgrade the connection is ignored, but actix-http takes what follows `Upgrade: websocket` for a
/// stream without an end. So the body ends here where its `Content-Length` says; without one, and without chunks,
/// there is none (RFC 9112, section 6.3).
pub(crate) async fn read_body(headers: &HeaderMap, mut payload: Payload, bytes_max: usize) -> Result<Body, Problem> {
    let coding = ContentCoding::of(headers).unwrap_or(ContentCoding::Identity);
    let coded_bytes_max = coding.coded_bytes_max(bytes_max);
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > coded_bytes_max) {
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
        if body.len() + chunk.len() > coded_bytes_max {
            return Err(Problem::payload_too_large(bytes_max));
        }
        body.extend_from_slice(&chunk);
    }
    let sent = body.freeze();
    let content = match coding.decode(sent.clone(), bytes_max) {
        Ok(content) => Ok(content),
        Err(DecodeError::TooLarge) => return Err(Problem::payload_too_large(bytes_max)),
        Err(DecodeError::Malformed) => Err(FieldError::new("body", "must be what its Content-Encoding says")),
    };
    Ok(Body { sent, content })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use actix_web::http::header::{HeaderName, HeaderValue};
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        headers
    }

    fn coded(coding: ContentCoding, text: &[u8], level: u32) -> Vec<u8> {
        let level = Compression::new(level);
        match coding {
            ContentCoding::Identity => text.to_vec(),
            ContentCoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(text).expect("memory");
                encoder.finish().expect("memory")
            }
            ContentCoding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(text).expect("memory");
                encoder.finish().expect("memory")
            }
        }
    }

    #[test]
    fn the_media_type_is_what_stands_before_the_first_semicolon() {
        for json in [
            "application/json",
            "Application/JSON",
            " application/json\t",
            "application/json;",
            "application/json ; charset=utf-8",
            "application/json\t;charset=utf-8",
            "application/json;;",
            "application/json; charset",
        ] {
            assert!(require_json(&headers(&[(header::CONTENT_TYPE, json)])).is_ok(), "{json:?}");
        }
        for other in
            ["", ";", "application/jsonx", "application/json, text/plain", "json", "text/json", "application /json"]
        {
            assert!(require_json(&headers(&[(header::CONTENT_TYPE, other)])).is_err(), "{other:?}");
        }
        assert!(require_json(&headers(&[])).is_err());
    }

    #[test]
    fn one_coding_is_taken_and_no_other() {
        for (value, coding) in [
            ("", Some(ContentCoding::Identity)),
            ("identity", Some(ContentCoding::Identity)),
            ("GZip ", Some(ContentCoding::Gzip)),
            ("deflate", Some(ContentCoding::Deflate)),
            ("br", None),
            ("zstd", None),
            ("gzip, gzip", None),
            ("identity, gzip", None),
        ] {
            assert_eq!(ContentCoding::of(&headers(&[(header::CONTENT_ENCODING, value)])), coding, "{value:?}");
        }
        let twice = [(header::CONTENT_ENCODING, "gzip"), (header::CONTENT_ENCODING, "identity")];
        assert_eq!(ContentCoding::of(&headers(&twice)), None);
    }

    #[test]
    fn what_comes_out_is_what_went_in_or_an_error() {
        let text = br#"{"paymentId":"p","orderId":"o"}"#;
        for coding in [ContentCoding::Gzip, ContentCoding::Deflate] {
            let body = coded(coding, text, 6);
            let decode = |body: &[u8]| coding.decode(Bytes::copy_from_slice(body), 1000);
            assert_eq!(decode(&body).expect("decodable"), text.as_slice());
            for length in 0..body.len() {
                assert_eq!(decode(&body[..length]), Err(DecodeError::Malformed), "{coding:?} {length}");
            }
            for index in [0, body.len() / 2, body.len() - 1] {
                let mut changed = body.clone();
                changed[index] ^= 0x55;
                assert_eq!(decode(&changed), Err(DecodeError::Malformed), "{coding:?} {index}");
            }
            assert_eq!(decode(&[&body[..], b"x"].concat()), Err(DecodeError::Malformed));
            assert_eq!(decode(text), Err(DecodeError::Malformed));
        }
        let members = [coded(ContentCoding::Gzip, &text[..9], 6), coded(ContentCoding::Gzip, &text[9..], 6)].concat();
        assert_eq!(ContentCoding::Gzip.decode(members.into(), 1000).expect("decodable"), text.as_slice());
    }

    #[test]
    fn no_more_comes_out_than_a_body_may_have() {
        let bytes_max = 65_536;
        // A generator of its own, whose bytes no coding makes fewer.
        let noise: Vec<u8> = (0..bytes_max)
            .scan(1_u32, |state, _| {
                *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                Some((*state >> 24) as u8)
            })
            .collect();
        for coding in [ContentCoding::Gzip, ContentCoding::Deflate] {
            for (text, level) in [(&noise, 9), (&noise, 0), (&vec![b' '; bytes_max], 9)] {
                let body = coded(coding, text, level);
                assert!(body.len() <= coding.coded_bytes_max(bytes_max), "{coding:?}: {} bytes", body.len());
                assert_eq!(coding.decode(body.into(), bytes_max).expect("decodable"), text.as_slice());
            }
            let bomb = coded(coding, &vec![b' '; 50_000_000], 9);
            assert!(bomb.len() < coding.coded_bytes_max(bytes_max));
            assert_eq!(coding.decode(bomb.into(), bytes_max), Err(DecodeError::TooLarge));
        }
    }
}
