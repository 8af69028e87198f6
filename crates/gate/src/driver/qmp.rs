//! QEMU's monitor, asked over its socket: one JSON object a line, one client at a time.
//!
//! A stopped QEMU still accepts connections into its backlog, and blocks the connect itself once
//! that is full. So nothing here waits but by the deadline: connect, ask, leave.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde_json::Value;

/// Longest answer that is read: block statistics of a hundred disks fit a few times.
const LONGEST: usize = 1 << 20;
/// Lines that are skipped in wait for an answer (events of a busy guest).
const MOST_LINES: usize = 1_000;

/// A conversation with the monitor, until dropped. All of it shares one deadline.
pub(crate) struct Session {
    stream: UnixStream,
    deadline: Instant,
    pending: Vec<u8>,
}

impl Session {
    /// Connects and leaves the negotiation mode.
    ///
    /// # Errors
    /// A sentence: no socket, nobody listens, another client holds the monitor, or no answer in
    /// time.
    pub(crate) fn open(path: &Path, within: Duration) -> Result<Session, String> {
        let deadline = Instant::now() + within;
        let stream = dial(path, deadline).map_err(|why| format!("{}: {why}", path.display()))?;
        let mut session = Session {
            stream,
            deadline,
            pending: Vec::new(),
        };
        let greeting = session.line()?;
        if greeting.get("QMP").is_none() {
            return Err("what listens there is not a QEMU monitor".to_owned());
        }
        session.ask("qmp_capabilities")?;
        Ok(session)
    }

    /// Gives one command without arguments and returns its answer.
    ///
    /// # Errors
    /// A sentence: the monitor's own error, or no answer in time.
    pub(crate) fn ask(&mut self, command: &str) -> Result<Value, String> {
        let request = serde_json::json!({ "execute": command }).to_string() + "\n";
        self.patience()?;
        self.stream
            .write_all(request.as_bytes())
            .map_err(|error| no_answer(&error))?;
        for _ in 0..MOST_LINES {
            let mut answer = self.line()?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                return Err(format!("{command}: {error}"));
            }
        }
        Err(format!("{command}: only events, no answer"))
    }

    /// The next line as JSON.
    fn line(&mut self) -> Result<Value, String> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map_err(|error| format!("the monitor does not speak JSON: {error}"));
            }
            if self.pending.len() > LONGEST {
                return Err(format!(
                    "the monitor's answer is longer than {LONGEST} bytes"
                ));
            }
            self.patience()?;
            let mut block = [0; 16 * 1024];
            match self.stream.read(&mut block) {
                Ok(0) => return Err("the monitor closed the connection".to_owned()),
                Ok(count) => {
                    self.pending
                        .extend_from_slice(block.get(..count).unwrap_or_default());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(no_answer(&error)),
            }
        }
    }

    /// Lets the next read or write take what is left until the deadline.
    fn patience(&self) -> Result<(), String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("the monitor did not answer in time".to_owned());
        }
        self.stream
            .set_read_timeout(Some(left))
            .and_then(|()| self.stream.set_write_timeout(Some(left)))
            .map_err(|error| error.to_string())
    }
}

fn no_answer(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            "the monitor did not answer in time".to_owned()
        }
        _ => format!("the monitor does not answer: {error}"),
    }
}

fn dial(path: &Path, deadline: Instant) -> Result<UnixStream, String> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let address = SocketAddrUnix::new(path).map_err(|error| error.to_string())?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|error| error.to_string())?;
    loop {
        match connect(&socket, &address) {
            Ok(()) => break,
            Err(rustix::io::Errno::AGAIN) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(rustix::io::Errno::AGAIN) => return Err("too many wait for the monitor".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
    }
    let stream = UnixStream::from(socket);
    stream
        .set_nonblocking(false)
        .map_err(|error| error.to_string())?;
    Ok(stream)
}
