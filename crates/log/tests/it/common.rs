//! What the tests of the log share.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use breakglass_log::{Attachment, Log};
use breakglass_model::{Actor, EventBody, IncidentId, Level};
use futures_util::StreamExt;

pub(crate) fn notice(text: impl Into<String>) -> EventBody {
    EventBody::Notice {
        level: Level::Info,
        code: "test".to_owned(),
        message: text.into(),
    }
}

pub(crate) async fn opened(log: &Log) -> IncidentId {
    log.open_incident("devvm", Actor::Operator("ada".to_owned()), false)
        .await
        .unwrap()
}

pub(crate) async fn append(log: &Log, incident: IncidentId, count: usize) {
    for n in 0..count {
        log.append(incident, Actor::System, notice(format!("event {n}")))
            .await
            .unwrap();
    }
}

/// Appends by a hundred writers at once: much faster, in no certain order.
pub(crate) async fn fill(log: &Log, incident: IncidentId, count: usize, text: &str) {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..100 {
        let (log, text) = (log.clone(), text.to_owned());
        writers.spawn(async move {
            for _ in (writer..count).step_by(100) {
                log.append(incident, Actor::System, notice(text.as_str()))
                    .await
                    .unwrap();
            }
        });
    }
    writers.join_all().await;
}

/// One SSE frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sse {
    pub(crate) id: Option<u64>,
    pub(crate) event: String,
    pub(crate) data: String,
}

/// Reads an attachment frame by frame.
pub(crate) struct Frames {
    attachment: Attachment,
    rest: Vec<u8>,
}

impl Frames {
    pub(crate) fn new(attachment: Attachment) -> Frames {
        Frames {
            attachment,
            rest: Vec::new(),
        }
    }

    /// The next frame; `None` at the stream's end.
    pub(crate) async fn next(&mut self) -> Option<Sse> {
        loop {
            if let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
                let frame: Vec<u8> = self.rest.drain(..end + 2).collect();
                return Some(parse(std::str::from_utf8(&frame).unwrap()));
            }
            let next = tokio::time::timeout(Duration::from_secs(60), self.attachment.next());
            self.rest
                .extend_from_slice(&next.await.expect("a frame within 60 s")?);
        }
    }

    /// All frames up to the first that `last` holds for, with it.
    pub(crate) async fn until(&mut self, last: impl Fn(&Sse) -> bool) -> Vec<Sse> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            let done = last(&frame);
            frames.push(frame);
            if done {
                break;
            }
        }
        frames
    }
}

pub(crate) fn ids(frames: &[Sse]) -> Vec<u64> {
    frames.iter().filter_map(|frame| frame.id).collect()
}

fn parse(frame: &str) -> Sse {
    let mut sse = Sse {
        id: None,
        event: String::new(),
        data: String::new(),
    };
    for line in frame.lines().filter(|line| !line.is_empty()) {
        match line.split_once(": ").unwrap() {
            ("id", id) => sse.id = Some(id.parse().unwrap()),
            ("event", event) => event.clone_into(&mut sse.event),
            ("data", data) => data.clone_into(&mut sse.data),
            other => panic!("an unknown SSE field {other:?}"),
        }
    }
    sse
}

/// A test of this binary in a process of its own, killed by Drop.
pub(crate) struct Killed {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// Runs the test `name` alone, with `value` in the variable that makes it do something.
pub(crate) fn child(name: &str, variable: &str, value: &Path) -> Killed {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(variable, value)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    Killed { child, lines }
}

impl Killed {
    /// Waits until it has printed `word` so many times.
    pub(crate) fn lines(&mut self, word: &str, count: usize) {
        let printed = self.lines.by_ref().map_while(Result::ok);
        let found = printed.filter(|line| line == word).take(count).count();
        assert_eq!(found, count, "the child goes on");
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
