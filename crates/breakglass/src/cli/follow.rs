//! Following an operation to its end, for as long as the server itself lets it run, over connections
//! that may break: the operation's id finds it again.

use std::io::BufRead;
use std::time::{Duration, Instant};

use breakglass_control::power::{self, Accepted};
use breakglass_model::{Event, EventBody, OutputStream};

use super::remote::Remote;
use super::{Exit, Failure, say, say_error};

/// What is waited for, and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the end of the operation.
    whole: Duration,
    /// For a server that is out of reach, again and again.
    lost: Duration,
    /// For the lines of one connection; then the operation itself is asked about.
    lines: Duration,
    /// Between two questions.
    pause: Duration,
}

impl Patience {
    /// As long as the longest verb may take.
    pub(super) const USUAL: Patience = Patience {
        whole: power::VERB_FOLLOW_TIMEOUT,
        lost: Duration::from_secs(120),
        lines: Duration::from_secs(30),
        pause: Duration::from_millis(500),
    };
}

/// Prints the operation's lines as they come, unless `quiet`, and gives it when it has ended.
///
/// # Errors
/// When it still runs at the end of the patience, or its server is gone for too long or has forgotten it.
pub(super) fn to_its_end(
    remote: &Remote,
    accepted: &Accepted,
    quiet: bool,
    patience: Patience,
) -> Result<power::OperationView, Failure> {
    let operation = accepted.operation;
    let (begun, mut heard, mut seen) = (Instant::now(), Instant::now(), 0);
    let mut lost = false;
    loop {
        if !quiet {
            lines(remote, accepted, &mut seen, patience.lines);
        }
        match remote.get::<power::OperationView>(&format!("/api/operations/{operation}")) {
            Ok(view) if view.outcome.is_some() => return Ok(view),
            Ok(_) => (heard, lost) = (Instant::now(), false),
            Err(failure) if failure.exit != Exit::Unreachable => return Err(failure),
            Err(failure) if heard.elapsed() > patience.lost => return Err(failure),
            Err(failure) if !lost => {
                lost = true;
                say_error(&format!(
                    "{}. Operation {operation} goes on without this client; trying again",
                    failure.message
                ));
            }
            Err(_) => {}
        }
        if begun.elapsed() > patience.whole {
            let message = format!(
                "operation {operation} still runs after {} s, which is longer than a verb may take; it \
                 goes on without this client: look at its incident",
                patience.whole.as_secs()
            );
            return Err(Failure::new(Exit::Unreachable, message));
        }
        std::thread::sleep(patience.pause);
    }
}

/// Prints the operation's lines from the event after `seen` on, until it ends or the connection does. A
/// stream that breaks costs nothing: the next one goes on where it was.
fn lines(remote: &Remote, accepted: &Accepted, seen: &mut u64, limit: Duration) {
    let Some(incident) = accepted.incident else {
        return;
    };
    let path = format!("/api/incidents/{incident}/events?after={seen}");
    let Ok(stream) = remote.stream(&path, Some(limit)) else {
        return;
    };
    let events = stream
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<Event>(line.strip_prefix("data: ")?).ok());
    for event in events {
        *seen = event.seq;
        match event.body {
            EventBody::VerbOutput {
                operation,
                stream,
                line,
            } if operation == accepted.operation => match stream {
                OutputStream::Stdout => say(&line),
                OutputStream::Stderr => say_error(&line),
            },
            EventBody::VerbFinished { operation, .. } if operation == accepted.operation => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;

    use serde_json::json;

    use super::*;

    /// In which nothing takes long.
    const SHORT: Patience = Patience {
        whole: Duration::from_secs(20),
        lost: Duration::from_secs(20),
        lines: Duration::from_millis(200),
        pause: Duration::from_millis(5),
    };

    /// Answers each connection as `answer` says for its number and path; none: hangs up. Ends when the
    /// test does. Gives the paths that were asked for.
    fn server(
        answer: impl Fn(usize, &str) -> Option<String> + Send + 'static,
    ) -> (Remote, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (asked, paths) = mpsc::channel();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let path = path_of(&stream);
                let answer = answer(number, &path);
                if asked.send(path).is_err() {
                    return;
                }
                if let Some(text) = answer {
                    let _ = (&stream).write_all(text.as_bytes());
                }
            }
        });
        (Remote::at(&base, "token"), paths)
    }

    fn path_of(stream: &TcpStream) -> String {
        let mut head = BufReader::new(stream).lines().map_while(Result::ok);
        let first = head.next().unwrap_or_default();
        head.find(|line| line.is_empty());
        first.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    fn ok(body: &str) -> Option<String> {
        let length = body.len();
        Some(format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    fn view(outcome: Option<&str>) -> Option<String> {
        let mut view = json!({
            "operation": uuid::Uuid::nil(), "target": "devvm", "kind": "verb", "verb": "cycle",
            "actor": "operator:ann", "state": "running", "started_at": "2026-11-30T03:00:00.000Z",
            "lines": [],
        });
        if let Some(outcome) = outcome {
            view["outcome"] = json!(outcome);
        }
        ok(&view.to_string())
    }

    fn event(seq: u64) -> String {
        let event = json!({
            "seq": seq, "kind": "verb_output", "at": "2026-11-30T03:00:00.000Z", "actor": "system",
            "operation": uuid::Uuid::nil(), "stream": "stdout", "line": "still stopping", "hash": "",
        });
        format!("id: {seq}\nevent: verb_output\ndata: {event}\n\n")
    }

    fn accepted(incident: bool) -> Accepted {
        Accepted {
            operation: uuid::Uuid::nil(),
            incident: incident.then(uuid::Uuid::nil),
            replayed: false,
        }
    }

    #[test]
    fn a_verb_is_followed_for_as_long_as_the_server_lets_it_run() {
        assert!(Patience::USUAL.whole > power::VERB_TIMEOUT_MAX);
    }

    #[test]
    fn a_verb_that_runs_long_is_asked_about_until_it_ends_with_json_too() {
        for quiet in [true, false] {
            let (remote, _paths) = server(|number, path| match path.contains("operations") {
                true => view((number > 40).then_some("done")),
                false => ok(&event(1)),
            });
            let view = to_its_end(&remote, &accepted(!quiet), quiet, SHORT).unwrap();
            assert_eq!(view.outcome, Some(breakglass_model::VerbOutcome::Done));
        }
    }

    #[test]
    fn broken_connections_are_made_again_and_go_on_where_they_were() {
        let (remote, paths) = server(|number, path| match (number, path.contains("operations")) {
            (5 | 8 | 9, _) => None,
            (_, true) => view((number > 12).then_some("failed")),
            (_, false) => ok(&event(number as u64 + 1)),
        });
        let view = to_its_end(&remote, &accepted(true), false, SHORT).unwrap();
        assert_eq!(view.outcome, Some(breakglass_model::VerbOutcome::Failed));
        let asked: Vec<String> = paths.try_iter().collect();
        let places: Vec<u64> = asked
            .iter()
            .filter_map(|path| path.split("after=").nth(1)?.parse().ok())
            .collect();
        assert!(places.len() > 3 && places.is_sorted(), "{asked:?}");
        assert_eq!(places.first(), Some(&0));
    }

    #[test]
    fn a_stream_that_falls_silent_is_not_waited_for() {
        let (remote, _paths) = server(|_, path| match path.contains("operations") {
            true => view(Some("done")),
            // More is promised than ever comes; the connection stays open until it is dropped.
            false => {
                std::thread::sleep(Duration::from_millis(300));
                Some("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n: alive\n\n".to_owned())
            }
        });
        assert!(to_its_end(&remote, &accepted(true), false, SHORT).is_ok());
    }

    #[test]
    fn a_server_that_is_gone_for_too_long_is_given_up_and_so_is_a_verb_that_never_ends() {
        let (remote, _paths) = server(|_, _| None);
        let patience = Patience {
            lost: Duration::from_millis(50),
            ..SHORT
        };
        let failure = to_its_end(&remote, &accepted(false), true, patience).unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        let (remote, _paths) = server(|_, _| view(None));
        let patience = Patience {
            whole: Duration::from_millis(50),
            ..SHORT
        };
        let failure = to_its_end(&remote, &accepted(false), true, patience).unwrap_err();
        assert!(
            failure.message.contains("still runs"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn a_server_that_knows_nothing_of_the_operation_is_not_asked_again() {
        let (remote, paths) = server(|_, _| {
            let body = r#"{"detail":"There is no operation in this server's memory."}"#;
            let length = body.len();
            Some(format!(
                "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            ))
        });
        let failure = to_its_end(&remote, &accepted(false), true, SHORT).unwrap_err();
        assert!(failure.message.contains("memory"), "{}", failure.message);
        assert_eq!(paths.try_iter().count(), 1);
    }
}
