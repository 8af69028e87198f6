//! The event stream over real HTTP: exact resumption, and disconnection of clients that do not read.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use breakglass_model::{Actor, EventBody, IncidentId, OperationId, OutputStream};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::server::{DEADLINE, Request, Server, TOKEN};
use crate::http::ListenLimits;
use breakglass_config::LimitsConfig;

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// One frame, as a browser would see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Frame {
    id: Option<u64>,
    event: String,
    data: String,
}

/// A reader of one stream: the chunked body taken apart into frames.
struct Reader {
    stream: TcpStream,
    raw: Vec<u8>,
    body: Vec<u8>,
    head_done: bool,
}

impl Reader {
    async fn attach(server: &Server, incident: IncidentId, resume: &[(&str, &str)]) -> Reader {
        let bearer = format!("Bearer {TOKEN}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend_from_slice(resume);
        let path = format!("/api/incidents/{incident}/events");
        let request = Request {
            headers: &headers,
            ..Request::new("GET", &path)
        };
        let mut stream = server.connect(LOOPBACK).await;
        stream
            .write_all(&request.bytes(&server.address.to_string()))
            .await
            .unwrap();
        Reader {
            stream,
            raw: Vec::new(),
            body: Vec::new(),
            head_done: false,
        }
    }

    /// More bytes; `false` at the end of the stream.
    async fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let count = timeout(DEADLINE, self.stream.read(&mut buffer))
            .await
            .unwrap()
            .unwrap_or(0);
        self.raw.extend_from_slice(&buffer[..count]);
        if !self.head_done
            && let Some(end) = self.raw.windows(4).position(|window| window == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&self.raw[..end]).to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 200"), "{head}");
            assert!(head.contains("content-type: text/event-stream"), "{head}");
            self.raw.drain(..end + 4);
            self.head_done = true;
        }
        while self.head_done && self.unchunk() {}
        count > 0
    }

    fn unchunk(&mut self) -> bool {
        let Some(line) = self.raw.windows(2).position(|window| window == b"\r\n") else {
            return false;
        };
        let size = std::str::from_utf8(&self.raw[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if self.raw.len() < line + 2 + size + 2 {
            return false;
        }
        self.body
            .extend_from_slice(&self.raw[line + 2..line + 2 + size]);
        self.raw.drain(..line + 2 + size + 2);
        true
    }

    /// The whole frames so far; a frame that is cut in the middle is no frame.
    fn frames(&self) -> Vec<Frame> {
        parse(&self.body)
    }

    /// Reads until `enough` of the frames, or the end.
    async fn until(&mut self, enough: impl Fn(&[Frame]) -> bool) -> Vec<Frame> {
        while !enough(&self.frames()) && self.more().await {}
        self.frames()
    }

    async fn until_caught_up(&mut self) -> Vec<Frame> {
        self.until(|frames| frames.iter().any(|frame| frame.event == "caught-up"))
            .await
    }
}

fn parse(body: &[u8]) -> Vec<Frame> {
    let text = String::from_utf8_lossy(body);
    let Some(end) = text.rfind("\n\n") else {
        return Vec::new();
    };
    let frame = |block: &str| {
        let mut frame = Frame::default();
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => frame.id = Some(id.parse().unwrap()),
                Some(("event", event)) => frame.event = event.to_owned(),
                Some(("data", data)) => frame.data = data.to_owned(),
                _ => {}
            }
        }
        frame
    };
    text[..end]
        .split("\n\n")
        .map(frame)
        .filter(|frame| !frame.event.is_empty())
        .collect()
}

fn ids(frames: &[Frame]) -> Vec<u64> {
    frames.iter().filter_map(|frame| frame.id).collect()
}

fn line(text: &str) -> EventBody {
    EventBody::VerbOutput {
        operation: OperationId::nil(),
        stream: OutputStream::Stdout,
        line: text.to_owned(),
    }
}

async fn fill(server: &Server, incident: IncidentId, count: usize, text: &str) {
    for number in 0..count {
        let body = line(&format!("{number} {text}"));
        server
            .state
            .log
            .append(incident, Actor::System, body)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn reader_gets_past_events_then_caught_up_then_new_events() {
    let server = Server::start().await;
    let incident = server.open_incident().await;
    fill(&server, incident, 4, "past").await;
    let mut reader = Reader::attach(&server, incident, &[]).await;
    let replay = reader.until_caught_up().await;
    assert_eq!(ids(&replay), [1, 2, 3, 4, 5]);
    assert_eq!(replay.last().unwrap().data, r#"{"seq":5}"#);
    fill(&server, incident, 1, "now").await;
    let all = reader.until(|frames| ids(frames).contains(&6)).await;
    assert_eq!(ids(&all), [1, 2, 3, 4, 5, 6]);
    assert!(all.last().unwrap().data.contains("0 now"));
    for frame in all.iter().filter(|frame| frame.id.is_some()) {
        let event: serde_json::Value = serde_json::from_str(&frame.data).unwrap();
        assert_eq!(event["seq"].as_u64(), frame.id);
        assert_eq!(event["kind"], frame.event);
    }
}

#[tokio::test]
async fn stream_ends_when_the_incident_closes_and_on_shutdown() {
    let server = Server::start().await;
    let incident = server.open_incident().await;
    let mut reader = Reader::attach(&server, incident, &[]).await;
    reader.until_caught_up().await;
    let path = format!("/api/incidents/{incident}/close");
    assert_eq!(server.as_token("POST", &path, "").await.status, 204);
    let all = reader.until(|_| false).await;
    assert_eq!(all.last().unwrap().event, "incident_closed");

    let other = server.open_incident().await;
    let mut reader = Reader::attach(&server, other, &[]).await;
    reader.until_caught_up().await;
    server.cancel.cancel();
    reader.until(|_| false).await;
}

#[tokio::test]
async fn streams_per_identity_are_limited_and_a_closed_one_frees_its_slot() {
    let limits = LimitsConfig {
        streams_per_identity: 2,
        ..LimitsConfig::default()
    };
    let server = Server::with(ListenLimits::default(), limits).await;
    let incident = server.open_incident().await;
    let mut one = Reader::attach(&server, incident, &[]).await;
    let mut two = Reader::attach(&server, incident, &[]).await;
    one.until_caught_up().await;
    two.until_caught_up().await;
    let path = format!("/api/incidents/{incident}/events");
    assert_eq!(server.as_token("GET", &path, "").await.status, 429);
    drop(one);
    // The slot is free once the server has noticed that the client disconnected.
    let freed = async {
        while server.state.streams.is_full("operator") {
            fill(&server, incident, 1, "wake").await;
        }
    };
    timeout(DEADLINE, freed).await.unwrap();
    let mut three = Reader::attach(&server, incident, &[]).await;
    three.until_caught_up().await;
}

#[tokio::test]
async fn client_that_does_not_read_is_disconnected_without_harm_to_others() {
    let listen = ListenLimits {
        stall_timeout: Duration::from_millis(300),
        ..ListenLimits::default()
    };
    let server = Server::with(listen, LimitsConfig::default()).await;
    let incident = server.open_incident().await;
    let mut quick = Reader::attach(&server, incident, &[]).await;
    quick.until_caught_up().await;
    let mut asleep = Reader::attach(&server, incident, &[]).await;
    asleep.until_caught_up().await;
    assert_eq!(server.state.log.readers(incident), 2);
    // Far more than both ends of a connection can buffer, in parts that a reader may lag behind: only
    // a client that does not read at all is disconnected.
    let (parts, count, size) = (15, 20, 100_000);
    let text = "x".repeat(size);
    for part in 1..=parts {
        fill(&server, incident, count, &text).await;
        while quick.body.len() < part * count * size && quick.more().await {}
    }
    let all = quick.until(|frames| ids(frames).last() == Some(&301)).await;
    assert_eq!(ids(&all), (1..=301).collect::<Vec<u64>>());
    let gone = async {
        while server.state.log.readers(incident) > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, gone)
        .await
        .expect("the client that does not read is still attached");
    // Which of both limits it exceeded first depends on the system's buffers.
    let metrics = server.as_token("GET", "/metrics", "").await.body;
    let counted = ["stalled_connections", "lagging_readers"];
    let counted = counted.map(|name| format!("\nbreakglass_{name}_total 1\n"));
    assert!(
        counted.iter().any(|line| metrics.contains(line)),
        "{metrics}"
    );
}

#[tokio::test]
async fn lagging_reader_is_disconnected_and_counted() {
    let server = Server::start().await;
    let incident = server.open_incident().await;
    let mut late = Reader::attach(&server, incident, &[]).await;
    late.until_caught_up().await;
    // More than both ends of the connection and the ring buffer can take, before it reads again.
    fill(&server, incident, 300, &"x".repeat(100_000)).await;
    while late.more().await {}
    let metrics = server.as_token("GET", "/metrics", "").await;
    assert!(
        metrics
            .body
            .contains("\nbreakglass_lagging_readers_total 1\n"),
        "{}",
        metrics.body
    );
}

/// One server and one long incident for all cases, which only read.
struct Fixture {
    runtime: tokio::runtime::Runtime,
    server: Server,
    incident: IncidentId,
    whole: Vec<Frame>,
    bytes: Vec<u8>,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (server, incident, whole, bytes) = runtime.block_on(async {
            let server = Server::start().await;
            let incident = server.open_incident().await;
            fill(&server, incident, 40, "ä\n\"\\ lines: and: colons").await;
            let mut reader = Reader::attach(&server, incident, &[]).await;
            let mut whole = reader.until_caught_up().await;
            whole.retain(|frame| frame.id.is_some());
            (server, incident, whole, reader.body)
        });
        assert_eq!(whole.len(), 41);
        Fixture {
            runtime,
            server,
            incident,
            whole,
            bytes,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Cut the stream after any byte, even within a frame, a number or a character: the events before
    /// the cut and after the resumption are the whole log, each once.
    #[test]
    fn resumption_after_a_cut_at_any_byte_neither_loses_nor_repeats_events(
        cut in any::<prop::sample::Index>(),
        by_query in any::<bool>(),
    ) {
        let fixture = fixture();
        let cut = cut.index(fixture.bytes.len() + 1);
        let mut seen: Vec<Frame> = parse(&fixture.bytes[..cut]);
        seen.retain(|frame| frame.id.is_some());
        let last = ids(&seen).last().copied().unwrap_or(0).to_string();
        let rest = fixture.runtime.block_on(async {
            let mut reader = if by_query {
                resume_by_query(fixture, &last).await
            } else {
                let resume = [("last-event-id", last.as_str())];
                Reader::attach(&fixture.server, fixture.incident, &resume).await
            };
            reader.until_caught_up().await
        });
        seen.extend(rest.into_iter().filter(|frame| frame.id.is_some()));
        prop_assert_eq!(&seen, &fixture.whole);
    }
}

async fn resume_by_query(fixture: &Fixture, last: &str) -> Reader {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    let path = format!("/api/incidents/{}/events?after={last}", fixture.incident);
    let request = Request {
        headers: &headers,
        ..Request::new("GET", &path)
    };
    let mut stream = fixture.server.connect(LOOPBACK).await;
    let bytes = request.bytes(&fixture.server.address.to_string());
    stream.write_all(&bytes).await.unwrap();
    Reader {
        stream,
        raw: Vec::new(),
        body: Vec::new(),
        head_done: false,
    }
}
