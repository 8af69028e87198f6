//! Forwards a plain HTTP request (with an absolute `http://` address) to the host in its address.

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

/// The body of a response.
pub(super) type Body = Either<Full<Bytes>, Incoming>;

/// Headers for one connection only, which a proxy does not forward.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("proxy-connection"),
    hyper::header::TE,
    hyper::header::TRAILER,
    hyper::header::UPGRADE,
];

/// A body with a short text.
pub(super) fn text(text: String) -> Body {
    Either::Left(Full::new(text.into()))
}

/// Sends `request` to `upstream` and returns the response, whose body is streamed. Cancelling `end` closes the connection.
pub(super) async fn forward(
    request: Request<Incoming>,
    upstream: TcpStream,
    (tasks, end): (&TaskTracker, &CancellationToken),
) -> Response<Body> {
    match send(request, upstream, (tasks, end)).await {
        Ok(response) => response.map(Either::Right),
        Err(error) => {
            let mut response = Response::new(text(format!("breakglass: {error}.\n")));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}

async fn send(
    request: Request<Incoming>,
    upstream: TcpStream,
    (tasks, end): (&TaskTracker, &CancellationToken),
) -> Result<Response<Incoming>, String> {
    let request = as_origin(request).ok_or("the address has no host")?;
    let connected = handshake(TokioIo::new(upstream)).await;
    let (mut sender, connection) = connected.map_err(|error| error.to_string())?;
    let end = end.clone();
    // Drives the connection while its response is being read.
    tasks.spawn(async move { end.run_until_cancelled(connection).await.map(drop) });
    let mut response = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    remove_hop_by_hop(response.headers_mut());
    Ok(response)
}

/// Rewrites the request for the origin server: a relative path, and the allowed host instead of its own Host header.
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
