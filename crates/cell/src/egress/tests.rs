//! The egress proxy with a real upstream server.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpListener;

use super::hello::tests::{hello, records};
use super::*;

/// Timeout of an expected event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

struct Scene {
    egress: Egress,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    end: CancellationToken,
    upstream: TcpListener,
    listed: AllowedHost,
}

/// A proxy that allows one server of the test, under the name `host`.
async fn scene(host: &str) -> Scene {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listed = AllowedHost {
        host: host.to_owned(),
        port: upstream.local_addr().unwrap().port(),
    };
    let attempts = Arc::new(Mutex::new(vec![]));
    let reported = Arc::clone(&attempts);
    let report: Report = Arc::new(move |attempt| reported.lock().unwrap().push(attempt));
    let end = CancellationToken::new();
    let egress = Egress::new(vec![listed.clone()], report, TaskTracker::new());
    let egress = egress.until(end.clone());
    Scene {
        egress,
        attempts,
        end,
        upstream,
        listed,
    }
}

impl Scene {
    /// A connection from inside the sandbox.
    fn client(&self) -> DuplexStream {
        let (client, server) = duplex(64 << 10);
        let egress = self.egress.clone();
        tokio::spawn(async move { egress.serve(server).await });
        client
    }

    /// The complete response to one request.
    async fn ask(&self, request: &str) -> String {
        let mut client = self.client();
        client.write_all(request.as_bytes()).await.unwrap();
        read_all(&mut client).await
    }

    fn errors(&self) -> Vec<Option<Error>> {
        let attempts = self.attempts.lock().unwrap();
        attempts
            .iter()
            .map(|attempt| attempt.error.clone())
            .collect()
    }
}

async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = vec![];
    let read = timeout(EVENT_TIMEOUT, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the connection ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let byte = timeout(EVENT_TIMEOUT, stream.read_u8())
            .await
            .expect("a byte arrives");
        text.push(char::from(byte.unwrap()));
    }
    text
}

/// Opens a tunnel and returns both ends.
async fn tunnel(scene: &Scene) -> (DuplexStream, TcpStream) {
    let mut client = scene.client();
    let request = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", scene.listed);
    client.write_all(request.as_bytes()).await.unwrap();
    let accepted = timeout(EVENT_TIMEOUT, scene.upstream.accept()).await;
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    (client, accepted.unwrap().unwrap().0)
}

#[tokio::test]
async fn request_to_a_listed_address_is_forwarded_with_its_own_host() {
    let scene = scene("127.0.0.1").await;
    let url = format!("http://{}/v1/messages?beta=1", scene.listed);
    let request = format!(
        "POST {url} HTTP/1.1\r\nHost: evil.example\r\nProxy-Authorization: x\r\nConnection: close\r\n\
         Content-Length: 2\r\n\r\nhi"
    );
    let serve = async {
        let (mut stream, _) = scene.upstream.accept().await.unwrap();
        let seen = read_until(&mut stream, "hi").await;
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(answer.as_bytes()).await.unwrap();
        seen
    };
    let (answer, seen) = tokio::join!(scene.ask(&request), serve);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with("ok"), "{answer}");
    let seen = seen.to_lowercase();
    assert!(
        seen.starts_with("post /v1/messages?beta=1 http/1.1"),
        "{seen}"
    );
    assert!(
        seen.contains(&format!("host: {}\r\n", scene.listed)),
        "{seen}"
    );
    assert!(!seen.contains("evil") && !seen.contains("proxy-"), "{seen}");
    assert_eq!(scene.errors(), [None]);
}

#[tokio::test]
async fn unlisted_destination_is_refused_and_reported() {
    let scene = scene("127.0.0.1").await;
    let port = scene.listed.port;
    let requests = [
        "CONNECT evil.example:443 HTTP/1.1\r\nHost: api.anthropic.com\r\n\r\n".to_owned(),
        format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\n\r\n", port ^ 1),
        format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\n"),
        format!("CONNECT [::ffff:127.0.0.1]:{port} HTTP/1.1\r\n\r\n"),
        "GET http://169.254.169.254/latest HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
        format!("GET http://127.0.0.1:{port}@evil.example/ HTTP/1.1\r\nConnection: close\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"),
    ];
    for request in &requests {
        let mut client = scene.client();
        client.write_all(request.as_bytes()).await.unwrap();
        let head = read_until(&mut client, "\r\n\r\n").await;
        let refused = head.starts_with("HTTP/1.1 403") || head.starts_with("HTTP/1.1 400");
        assert!(refused, "{request}: {head}");
    }
    let errors = scene.errors();
    assert_eq!(errors.len(), requests.len());
    assert!(errors.iter().all(Option::is_some), "{errors:?}");
}

#[tokio::test]
async fn tunnel_forwards_everything_after_the_right_host_was_named() {
    let scene = scene("localhost").await;
    let (mut client, mut upstream) = tunnel(&scene).await;
    let first = records(&hello(&["localhost"]), 4_000);
    client.write_all(&first).await.unwrap();
    let mut seen = vec![0; first.len()];
    upstream.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, first);
    upstream.write_all(b"answer.").await.unwrap();
    assert_eq!(read_until(&mut client, ".").await, "answer.");
    assert_eq!(scene.errors(), [None]);
}

#[tokio::test]
async fn tunnel_to_another_host_is_closed_before_any_byte_is_forwarded() {
    for first in [
        records(&hello(&["evil.example"]), 4_000),
        records(&hello(&["localhost", "evil.example"]), 4_000),
        records(&hello(&[]), 4_000),
        b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_vec(),
    ] {
        let scene = scene("localhost").await;
        let (mut client, mut upstream) = tunnel(&scene).await;
        client.write_all(&first).await.unwrap();
        assert_eq!(read_all(&mut upstream).await, "");
        assert_eq!(read_all(&mut client).await, "");
        let errors = scene.errors();
        assert!(
            matches!(errors[..], [Some(Error::OtherName { .. })]),
            "{errors:?}"
        );
    }
}

#[tokio::test]
async fn cut_off_closes_an_open_tunnel() {
    let scene = scene("127.0.0.1").await;
    let (mut client, mut upstream) = tunnel(&scene).await;
    client.write_all(b"anything.").await.unwrap();
    assert_eq!(read_until(&mut upstream, ".").await, "anything.");
    scene.end.cancel();
    assert_eq!(read_all(&mut upstream).await, "");
    assert_eq!(read_all(&mut client).await, "");
}

#[tokio::test]
async fn connections_above_the_maximum_are_refused_and_open_ones_continue() {
    let scene = scene("127.0.0.1").await;
    let mut open = vec![];
    for _ in 0..CONNECTIONS_MAX {
        open.push(tunnel(&scene).await);
    }
    let mut client = scene.client();
    assert_eq!(read_all(&mut client).await, "");
    assert_eq!(scene.errors().last(), Some(&Some(Error::TooMany)));
    let (client, upstream) = &mut open[0];
    client.write_all(b"still here.").await.unwrap();
    assert_eq!(read_until(upstream, ".").await, "still here.");
}
