//! Follows an operation until it has finished, over connections that may break.
//!
//! It prints the operation's lines from the event stream, and polls the operation for its result.

use std::io::BufRead;
use std::time::{Duration, Instant};

use breakglass_control::power::{self, Accepted};
use breakglass_model::{Event, EventBody, OutputStream};

use super::remote::Remote;
use super::{Exit, Failure, print_error, print_line};

/// Time limits of following an operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct FollowLimits {
    /// Longest wait for the end of the operation.
    timeout: Duration,
    /// Longest time without contact to the server.
    unreachable_timeout: Duration,
    /// Longest time to read lines from one connection before the operation is polled.
    stream_timeout: Duration,
    /// Pause between two polls.
    poll_interval: Duration,
}

impl FollowLimits {
    /// Long enough for the longest verb.
    pub(super) const DEFAULT: FollowLimits = FollowLimits {
        timeout: power::VERB_FOLLOW_TIMEOUT,
        unreachable_timeout: Duration::from_secs(120),
        stream_timeout: Duration::from_secs(30),
        poll_interval: Duration::from_millis(500),
    };
}

/// Prints the operation's lines as they come, unless `quiet`, and returns the finished operation.
///
/// # Errors
/// If a limit is exceeded, or the server does not know the operation.
pub(super) fn until_finished(
    remote: &Remote,
    accepted: &Accepted,
    quiet: bool,
    limits: FollowLimits,
) -> Result<power::OperationView, Failure> {
    let operation = accepted.operation;
    let started = Instant::now();
    let mut last_contact = started;
    let mut last_seq = 0;
    let mut is_lost = false;
    loop {
        if !quiet {
            print_lines(remote, accepted, &mut last_seq, limits.stream_timeout);
        }
        match remote.get::<power::OperationView>(&format!("/api/operations/{operation}")) {
            Ok(view) if view.outcome.is_some() => return Ok(view),
            Ok(_) => {
                last_contact = Instant::now();
                is_lost = false;
            }
            Err(failure) if failure.exit != Exit::Unreachable => return Err(failure),
            Err(failure) if last_contact.elapsed() > limits.unreachable_timeout => {
                return Err(failure);
            }
            Err(failure) if !is_lost => {
                is_lost = true;
                print_error(&format!(
                    "{}. Operation {operation} continues without this client; trying again",
                    failure.message
                ));
            }
            Err(_) => {}
        }
        if started.elapsed() > limits.timeout {
            let message = format!(
                "operation {operation} is still running after {} s, longer than any verb should take; it \
                 continues without this client: see its incident",
                limits.timeout.as_secs()
            );
            return Err(Failure::new(Exit::Unreachable, message));
        }
        std::thread::sleep(limits.poll_interval);
    }
}

/// Prints the operation's lines after the event `last_seq`, until the operation or the connection ends.
/// After a broken connection, the next call continues at `last_seq`.
fn print_lines(remote: &Remote, accepted: &Accepted, last_seq: &mut u64, timeout: Duration) {
    let Some(incident) = accepted.incident else {
        return;
    };
    let path = format!("/api/incidents/{incident}/events?after={last_seq}");
    let Ok(stream) = remote.stream(&path, Some(timeout)) else {
        return;
    };
    let events = stream
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<Event>(line.strip_prefix("data: ")?).ok());
    for event in events {
        *last_seq = event.seq;
        match event.body {
            EventBody::VerbOutput {
                operation,
                stream,
                line,
            } if operation == accepted.operation => match stream {
                OutputStream::Stdout => print_line(&line),
                OutputStream::Stderr => print_error(&line),
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

    const SHORT: FollowLimits = FollowLimits {
        timeout: Duration::from_secs(20),
        unreachable_timeout: Duration::from_secs(20),
        stream_timeout: Duration::from_millis(200),
        poll_interval: Duration::from_millis(5),
    };

    /// A server that answers each connection with `answer(number, path)`, or closes it on `None`.
    /// Returns the requested paths.
    fn server(
        answer: impl Fn(usize, &str) -> Option<String> + Send + 'static,
    ) -> (Remote, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (requested, paths) = mpsc::channel();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let path = path_of(&stream);
                let answer = answer(number, &path);
                if requested.send(path).is_err() {
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
    fn follow_timeout_exceeds_the_longest_verb() {
        assert!(FollowLimits::DEFAULT.timeout > power::VERB_TIMEOUT_MAX);
    }

    #[test]
    fn long_operation_is_polled_until_it_finishes() {
        for quiet in [true, false] {
            let (remote, _paths) = server(|number, path| {
                if path.contains("operations") {
                    view((number > 40).then_some("done"))
                } else {
                    ok(&event(1))
                }
            });
            let view = until_finished(&remote, &accepted(!quiet), quiet, SHORT).unwrap();
            assert_eq!(view.outcome, Some(breakglass_model::VerbOutcome::Done));
        }
    }

    #[test]
    fn broken_streams_resume_after_the_last_event() {
        let (remote, paths) = server(|number, path| match (number, path.contains("operations")) {
            (5 | 8 | 9, _) => None,
            (_, true) => view((number > 12).then_some("failed")),
            (_, false) => ok(&event(number as u64 + 1)),
        });
        let view = until_finished(&remote, &accepted(true), false, SHORT).unwrap();
        assert_eq!(view.outcome, Some(breakglass_model::VerbOutcome::Failed));
        let requested: Vec<String> = paths.try_iter().collect();
        let resumed_after: Vec<u64> = requested
            .iter()
            .filter_map(|path| path.split("after=").nth(1)?.parse().ok())
            .collect();
        assert!(
            resumed_after.len() > 3 && resumed_after.is_sorted(),
            "{requested:?}"
        );
        assert_eq!(resumed_after.first(), Some(&0));
    }

    #[test]
    fn silent_stream_times_out() {
        let (remote, _paths) = server(|_, path| {
            if path.contains("operations") {
                return view(Some("done"));
            }
            // The body is shorter than its announced length, and the connection stays open.
            std::thread::sleep(Duration::from_millis(300));
            Some("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n: alive\n\n".to_owned())
        });
        assert!(until_finished(&remote, &accepted(true), false, SHORT).is_ok());
    }

    #[test]
    fn unreachable_servers_and_endless_operations_time_out() {
        let (remote, _paths) = server(|_, _| None);
        let limits = FollowLimits {
            unreachable_timeout: Duration::from_millis(50),
            ..SHORT
        };
        let failure = until_finished(&remote, &accepted(false), true, limits).unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        let (remote, _paths) = server(|_, _| view(None));
        let limits = FollowLimits {
            timeout: Duration::from_millis(50),
            ..SHORT
        };
        let failure = until_finished(&remote, &accepted(false), true, limits).unwrap_err();
        assert!(
            failure.message.contains("is still running"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn unknown_operation_is_not_polled_again() {
        let (remote, paths) = server(|_, _| {
            let body = r#"{"detail":"There is no operation in this server's memory."}"#;
            let length = body.len();
            Some(format!(
                "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            ))
        });
        let failure = until_finished(&remote, &accepted(false), true, SHORT).unwrap_err();
        assert!(failure.message.contains("memory"), "{}", failure.message);
        assert_eq!(paths.try_iter().count(), 1);
    }
}
