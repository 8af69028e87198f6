//! Answers in JSON, compressed for who takes it: the line to a phone is slow when it matters.

use std::io::Write as _;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::web::accepts;

/// Bytes that a compressed answer may have: fewer are one packet in any case, more take too long here.
const WORTH: std::ops::RangeInclusive<u64> = 1_000..=512 * 1024;

/// Compresses what is JSON and whole; streams pass as they are.
pub(super) async fn json(request: Request, next: Next) -> Response {
    let takes = accepts(request.headers(), "gzip");
    let response = next.run(request).await;
    let size = response.body().size_hint().exact();
    let worth = size.is_some_and(|size| WORTH.contains(&size));
    if !takes || !worth || !is_json(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let most = usize::try_from(*WORTH.end()).unwrap_or(usize::MAX);
    let Ok(plain) = to_bytes(body, most).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let Ok(packed) = gzip(&plain) else {
        return Response::from_parts(parts, Body::from(plain));
    };
    let headers = &mut parts.headers;
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    Response::from_parts(parts, Body::from(packed))
}

fn is_json(headers: &HeaderMap) -> bool {
    let plain = !headers.contains_key(header::CONTENT_ENCODING);
    let kind = headers.get(header::CONTENT_TYPE);
    plain && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_was_packed_is_read_as_it_was() {
        let plain = br#"{"a":"b"}"#.repeat(1_000);
        let packed = gzip(&plain).unwrap();
        assert!(packed.len() * 10 < plain.len());
        let mut read = Vec::new();
        flate2::read::GzDecoder::new(&packed[..])
            .read_to_end(&mut read)
            .unwrap();
        assert_eq!(read, plain);
    }
}
