//! Compresses JSON responses for clients that accept gzip: a phone's connection may be slow.

use std::io::Write as _;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::web::accepts;

/// Sizes of the bodies that are compressed. A smaller body fits into one packet anyway; a larger one
/// takes too long to compress in place.
const COMPRESSED_BODY_BYTES: std::ops::RangeInclusive<u64> = 1_000..=512 * 1024;

/// Compresses JSON bodies of known size. Streams stay uncompressed.
pub(super) async fn json(request: Request, next: Next) -> Response {
    let accepts_gzip = accepts(request.headers(), "gzip");
    let response = next.run(request).await;
    let size = response.body().size_hint().exact();
    let size_fits = size.is_some_and(|size| COMPRESSED_BODY_BYTES.contains(&size));
    if !accepts_gzip || !size_fits || !is_json(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let max_bytes = usize::try_from(*COMPRESSED_BODY_BYTES.end()).unwrap_or(usize::MAX);
    let Ok(plain) = to_bytes(body, max_bytes).await else {
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
    fn gzip_output_decompresses_to_the_input() {
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
