//! A request to a whole `http://` address: passed on by one connection, whose host is the address's.

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What an answer holds.
pub(super) type Body = Either<Full<Bytes>, Incoming>;

/// Headers between two neighbours, which a proxy does not pass on.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("proxy-connection"),
    hyper::header::TE,
    hyper::header::TRAILER,
    hyper::header::UPGRADE,
];

/// An answer of a few words.
pub(super) fn text(text: String) -> Body {
    Either::Left(Full::new(text.into()))
}

/// Passes `request` on to `upstream` and gives its answer, as it comes. `end` cuts it off.
pub(super) async fn forward(
    request: Request<Incoming>,
    upstream: TcpStream,
    (tasks, end): (&TaskTracker, &CancellationToken),
) -> Response<Body> {
    match pass_on(request, upstream, (tasks, end)).await {
        Ok(response) => response.map(Either::Right),
        Err(error) => {
            let mut response = Response::new(text(format!("breakglass: {error}.\n")));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}

async fn pass_on(
    request: Request<Incoming>,
    upstream: TcpStream,
    (tasks, end): (&TaskTracker, &CancellationToken),
) -> Result<Response<Incoming>, String> {
    let request = as_origin(request).ok_or("the address has no host")?;
    let shaken = handshake(TokioIo::new(upstream)).await;
    let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
    let end = end.clone();
    // Drives the connection for as long as its answer is read.
    tasks.spawn(async move { end.run_until_cancelled(connection).await.map(drop) });
    let mut response = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    remove_hop_by_hop(response.headers_mut());
    Ok(response)
}

/// The request as the server itself takes it: its path alone, and the host that was let through,
/// whatever it says itself.
fn as_origin(mut request: Request<Incoming>) -> Option<Request<Incoming>> {
    let authority = request.uri().authority()?.as_str().to_owned();
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let path = path.parse::<Uri>().ok()?;
    let host = HeaderValue::from_str(&authority).ok()?;
    *request.uri_mut() = path;
    remove_hop_by_hop(request.headers_mut());
    request.headers_mut().insert(HOST, host);
    Some(request)
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for header in HOP_BY_HOP {
        headers.remove(header);
    }
}
