//! The page: built by Vite, compressed by `build.rs`, embedded here. It needs no identity, because
//! it contains only code.
//!
//! Files with a hash in their name are cached for a year. All others are revalidated each time, with
//! a 304 if they are unchanged. The page is at `/` only; its views are fragments.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

struct Asset {
    /// The URL path.
    path: &'static str,
    kind: &'static str,
    /// The start of the content's SHA-256, hexadecimal.
    hash: &'static str,
    /// Whether the name changes with the content.
    immutable: bool,
    plain: &'static [u8],
    /// Compressed forms; `None` if not smaller.
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// A route for each file of the page.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        router.route(
            asset.path,
            get(move |headers: HeaderMap| async move { answer(asset, &headers) }),
        )
    })
}

fn answer(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let accepts = |coding| accepts(headers, coding);
    let (bytes, coding) = match (asset.brotli, asset.gzip) {
        (Some(bytes), _) if accepts("br") => (bytes, Some("br")),
        (_, Some(bytes)) if accepts("gzip") => (bytes, Some("gzip")),
        _ => (asset.plain, None),
    };
    let tag = format!("\"{}{}\"", asset.hash, coding.unwrap_or_default());
    let cache_control = if asset.immutable {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let common = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, cache_control.to_owned()),
        (header::VARY, "accept-encoding".to_owned()),
    ];
    if is_cached(headers, &tag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let kind = [(header::CONTENT_TYPE, asset.kind)];
    let coding = coding.map(|coding| [(header::CONTENT_ENCODING, coding)]);
    match coding {
        Some(coding) => (common, kind, coding, Body::from(bytes)).into_response(),
        None => (common, kind, Body::from(bytes)).into_response(),
    }
}

/// Whether the client has this version of the asset.
fn is_cached(headers: &HeaderMap, tag: &str) -> bool {
    let tags = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    tags.is_some_and(|tags| {
        tags.split(',')
            .any(|one| one.trim().trim_start_matches("W/") == tag || one.trim() == "*")
    })
}

/// Whether the client accepts `coding`: it is listed with a weight above 0.
pub(crate) fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    let lists = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|v| v.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
        named && weight.is_none_or(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, value.parse().unwrap())])
    }

    #[test]
    fn coding_is_accepted_only_if_listed_with_a_weight() {
        assert!(accepts(&accepting("gzip, deflate, br"), "br"));
        assert!(accepts(&accepting("BR;q=0.5"), "br"));
        assert!(!accepts(&accepting("br;q=0, gzip"), "br"));
        assert!(!accepts(&accepting("brotli"), "br"));
        assert!(!accepts(&HeaderMap::new(), "br"));
    }

    #[test]
    fn page_at_the_root_is_revalidated() {
        let index = ASSETS.iter().find(|asset| asset.path == "/").unwrap();
        assert!(!index.immutable);
        assert_eq!(index.kind, "text/html; charset=utf-8");
    }
}
