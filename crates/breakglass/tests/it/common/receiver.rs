//! A receiver of notifications with configurable behaviour.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value;

use super::{LIMIT, wait_until};

/// What a receiver does with a request.
#[derive(Debug, Clone)]
pub enum Does {
    /// Answers with a status line and headers, each with its `\r\n`, and no body.
    Answers(&'static str),
    /// Answers after a while.
    AnswersAfter(std::time::Duration),
    /// Never answers.
    Hangs,
    /// Accepts the request, then sends an endless body.
    FloodsBody,
    /// Sends endless headers.
    FloodsHead,
}

/// The behaviour of a receiver that accepts.
pub const TAKES: Does = Does::Answers("204 No Content\r\n");

/// A received request.
#[derive(Debug, Clone)]
pub struct Heard {
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Value,
    pub at: Instant,
}

impl Heard {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Dropping it closes all its connections.
pub struct Receiver {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    ended: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Receiver {
    /// On a free port; `does` is asked with the number of the request, from 0.
    pub fn start(does: impl Fn(usize) -> Does + Send + Sync + 'static) -> Receiver {
        Receiver::at("127.0.0.1:0", does)
    }

    /// At an address that was named before.
    pub fn at(address: &str, does: impl Fn(usize) -> Does + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, open, ended) = (Arc::default(), Arc::default(), Arc::default());
        let does: Arc<dyn Fn(usize) -> Does + Send + Sync> = Arc::new(does);
        let shared = (Arc::clone(&heard), Arc::clone(&open), Arc::clone(&ended));
        let accepting = std::thread::spawn(move || {
            let (heard, open, ended): Shared = shared;
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                open.lock().unwrap().push(stream.try_clone().unwrap());
                let (heard, does) = (Arc::clone(&heard), Arc::clone(&does));
                std::thread::spawn(move || serve(stream, &heard, &*does));
            }
        });
        Receiver {
            address,
            heard,
            open,
            ended,
            accepting: Some(accepting),
        }
    }

    /// A section of a configuration that names it.
    pub fn section(&self, name: &str, more: &str) -> String {
        section(name, &self.address.to_string(), more)
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until this many requests have arrived.
    pub fn hears(&self, count: usize) -> Vec<Heard> {
        wait_until(&format!("{count} notifications come"), || {
            Some(self.heard()).filter(|heard| heard.len() >= count)
        })
    }
}

/// A section of a configuration that names what listens, or does not, at `address`.
pub fn section(name: &str, address: &str, more: &str) -> String {
    format!(
        "[[notifications.receivers]]\nname = \"{name}\"\nurl = \"http://{address}/hook\"\n{more}\n"
    )
}

type Shared = (
    Arc<Mutex<Vec<Heard>>>,
    Arc<Mutex<Vec<TcpStream>>>,
    Arc<AtomicBool>,
);

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(mut stream: TcpStream, heard: &Mutex<Vec<Heard>>, does: &dyn Fn(usize) -> Does) {
    let _ = stream.set_read_timeout(Some(LIMIT));
    let Some(request) = read(&mut stream) else {
        return;
    };
    let number = {
        let mut heard = heard.lock().unwrap();
        heard.push(request);
        heard.len() - 1
    };
    let taken = b"HTTP/1.1 200 OK\r\n";
    let _ = match does(number) {
        Does::Answers(head) => {
            stream.write_all(format!("HTTP/1.1 {head}content-length: 0\r\n\r\n").as_bytes())
        }
        Does::AnswersAfter(wait) => {
            std::thread::park_timeout(wait);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        }
        Does::Hangs => stream.read(&mut [0]).map(drop),
        Does::FloodsBody => stream
            .write_all(taken)
            .and_then(|()| flood(&mut stream, b"\r\nall of it ")),
        Does::FloodsHead => stream
            .write_all(taken)
            .and_then(|()| flood(&mut stream, b"x-more: and more\r\n")),
    };
}

fn flood(stream: &mut TcpStream, what: &[u8]) -> std::io::Result<()> {
    let block = what.repeat(1000);
    loop {
        stream.write_all(&block)?;
    }
}

fn read(stream: &mut TcpStream) -> Option<Heard> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            break end;
        }
        let mut block = [0; 4096];
        let count = stream.read(&mut block).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&block[..count]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    };
    let headers: Vec<_> = lines.filter_map(header).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length?.1.parse().ok()?;
    let mut body = bytes[end + 4..].to_vec();
    let have = body.len();
    body.resize(length, 0);
    stream.read_exact(&mut body[have..]).ok()?;
    Some(Heard {
        path,
        headers,
        body: serde_json::from_slice(&body).unwrap(),
        at: Instant::now(),
    })
}
