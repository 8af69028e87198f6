//! A probe: tries from inside a sandbox what nothing inside is to get, and says what became of each. What it
//! tries does no harm where it succeeds.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

use super::MODEL_PROXY;

/// How long one connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long the proxy may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// An address of documentation, which no machine has.
const OUTSIDE: &str = "192.0.2.1:9";
/// A name that is on no list, and that resolves wherever names do.
const NAME: (&str, u16) = ("example.com", 443);
/// A file that is made and removed where it can be.
const FOREIGN_FILE: &str = "/usr/.breakglass-probe";

/// What a probe knows of the server. Nothing in it is a secret.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// Files that are the server's alone.
    pub files: Vec<PathBuf>,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// Its process.
    pub process: Option<u32>,
}

/// One attempt, and what refused it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// What was tried, as in "it can …".
    pub what: String,
    /// The kernel's or the proxy's word; none where it succeeded.
    pub refused: Option<String>,
}

impl Probe {
    /// Tries everything, one by one. Blocks for some seconds at most.
    #[must_use]
    pub fn run(&self) -> Vec<Tried> {
        let mut all = vec![];
        for file in &self.files {
            all.push(tried(format!("read {}", file.display()), File::open(file)));
        }
        for address in &self.addresses {
            let connected = TcpStream::connect_timeout(address, CONNECT_LIMIT);
            all.push(tried(format!("reach the server at {address}"), connected));
        }
        if let Some(process) = self.process {
            let what = format!("send the server's process {process} a signal");
            all.push(tried(what, signal(process)));
        }
        all.push(tried("see processes of others", only_own()));
        all.push(tried("keep a capability", without_capabilities()));
        all.extend(network());
        all.extend(calls());
        let made = File::create_new(FOREIGN_FILE);
        if made.is_ok() {
            let _ = fs::remove_file(FOREIGN_FILE);
        }
        all.push(tried("write to /usr", made));
        all
    }
}

fn tried<T>(what: impl Into<String>, done: io::Result<T>) -> Tried {
    Tried {
        what: what.into(),
        refused: done.err().map(|error| error.to_string()),
    }
}

fn signal(process: u32) -> io::Result<()> {
    let id = i32::try_from(process).ok().and_then(Pid::from_raw);
    let id = id.ok_or(io::ErrorKind::InvalidInput)?;
    if Path::new("/proc").join(process.to_string()).exists() {
        // Numbers begin anew inside; what is seen there is judged by its name.
        return Err(io::Error::other("that number is another process here"));
    }
    Ok(test_kill_process(id)?)
}

/// Whether there is a process that is neither the first one nor this one.
fn only_own() -> io::Result<()> {
    let own = std::process::id();
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let first = id == 1 && holds(&command, b"cell-init");
        if id != own && !first {
            return Ok(());
        }
    }
    Err(io::Error::other("there are none"))
}

fn holds(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

fn without_capabilities() -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim)
    };
    let none = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"]
        .into_iter()
        .all(|set| of(set).is_some_and(|held| held.bytes().all(|byte| byte == b'0')));
    match none && of("NoNewPrivs:") == Some("1") {
        true => Err(io::Error::other("none is left, and none can be gained")),
        false => Ok(()),
    }
}

fn network() -> Vec<Tried> {
    // Connecting sends nothing: it tells whether there is a way.
    let route = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect(OUTSIDE));
    vec![
        tried("send to an address outside", route),
        tried("look a name up", NAME.to_socket_addrs()),
        tried("reach a host that is not listed, by the proxy", by_proxy()),
    ]
}

/// Asks the proxy for a host that is not on the list.
fn by_proxy() -> io::Result<()> {
    let proxy: SocketAddr = MODEL_PROXY.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&proxy, CONNECT_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let (host, port) = NAME;
    write!(
        stream,
        "CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    )?;
    let mut answer = [0; 256];
    let count = stream.read(&mut answer)?;
    let line = String::from_utf8_lossy(&answer[..count]);
    let line = line.lines().next().unwrap_or_default().to_owned();
    match line.starts_with("HTTP/1.1 2") {
        true => Ok(()),
        false => Err(io::Error::other(format!("the proxy says {line:?}"))),
    }
}

/// Calls of the kernel that are not there inside. Each changes this process alone where it is.
fn calls() -> Vec<Tried> {
    let all: [(&str, libc::c_long, [libc::c_long; 4]); 9] = [
        ("mount a file system", libc::SYS_mount, [0, 0, 0, 0]),
        ("trace a process", libc::SYS_ptrace, [0, 0, 0, 0]),
        (
            "make a user namespace",
            libc::SYS_unshare,
            [0x1000_0000, 0, 0, 0],
        ),
        (
            "open a raw socket",
            libc::SYS_socket,
            [libc::AF_INET.into(), libc::SOCK_RAW.into(), 1, 0],
        ),
        (
            "open a packet socket",
            libc::SYS_socket,
            [libc::AF_PACKET.into(), libc::SOCK_RAW.into(), 0, 0],
        ),
        (
            "ask the kernel by netlink",
            libc::SYS_socket,
            [libc::AF_NETLINK.into(), libc::SOCK_RAW.into(), 0, 0],
        ),
        ("use the kernel's keys", libc::SYS_keyctl, [0, -3, 0, 0]),
        ("watch memory faults", libc::SYS_userfaultfd, [0, 0, 0, 0]),
        ("change another's limits", libc::SYS_prlimit64, [1, 7, 0, 0]),
    ];
    all.into_iter()
        .map(|(what, number, [a, b, c, d])| {
            // SAFETY: every pointer among the arguments is null, so the kernel touches no memory; what a
            // call makes is this process's own, which ends soon.
            let result = unsafe { libc::syscall(number, a, b, c, d, 0) };
            let done = match result {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            };
            // An address that is not there is looked at only after the right to.
            let done = match done {
                Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
                done => done,
            };
            tried(what, done)
        })
        .collect()
}
