//! Attempts from inside a sandbox to reach what must not be reachable, and reports each result. An attempt that
//! succeeds does no harm.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

use super::options::MODEL_PROXY;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const PROXY_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// An address that is reserved for documentation.
const OUTSIDE_ADDRESS: &str = "192.0.2.1:9";
/// A host that is not on the list, but resolves wherever DNS works.
const UNLISTED_HOST: (&str, u16) = ("example.com", 443);
/// A file that is removed again if it can be created.
const SYSTEM_FILE: &str = "/usr/.breakglass-probe";

/// What a probe needs to know about the server; no secret.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// The server's private files.
    pub files: Vec<PathBuf>,
    /// The server's listening addresses.
    pub addresses: Vec<SocketAddr>,
    /// The server's process id.
    pub process: Option<u32>,
}

/// One attempt and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What was attempted, as in "it can …".
    pub what: String,
    /// The error of the kernel or the proxy; none if the attempt succeeded.
    pub refused: Option<String>,
}

impl Probe {
    /// Makes all attempts, one by one. Blocks for some seconds at most.
    #[must_use]
    pub fn run(&self) -> Vec<Attempt> {
        let mut all = vec![];
        for file in &self.files {
            all.push(attempt(
                format!("read {}", file.display()),
                File::open(file),
            ));
        }
        for address in &self.addresses {
            let connected = TcpStream::connect_timeout(address, CONNECT_TIMEOUT);
            all.push(attempt(format!("reach the server at {address}"), connected));
        }
        if let Some(process) = self.process {
            let what = format!("send the server's process {process} a signal");
            all.push(attempt(what, signal(process)));
        }
        all.push(attempt("see processes of others", only_own()));
        all.push(attempt("keep a capability", without_capabilities()));
        all.extend(network());
        all.extend(system_calls());
        let made = File::create_new(SYSTEM_FILE);
        if made.is_ok() {
            let _ = fs::remove_file(SYSTEM_FILE);
        }
        all.push(attempt("write to /usr", made));
        all
    }
}

fn attempt<T>(what: impl Into<String>, result: io::Result<T>) -> Attempt {
    Attempt {
        what: what.into(),
        refused: result.err().map(|error| error.to_string()),
    }
}

fn signal(process: u32) -> io::Result<()> {
    let id = i32::try_from(process).ok().and_then(Pid::from_raw);
    let id = id.ok_or(io::ErrorKind::InvalidInput)?;
    if Path::new("/proc").join(process.to_string()).exists() {
        // Process ids are counted separately inside; `only_own` examines the processes there.
        return Err(io::Error::other("that id belongs to another process here"));
    }
    Ok(test_kill_process(id)?)
}

/// Succeeds if another process is visible besides the first one and this one.
fn only_own() -> io::Result<()> {
    let own = std::process::id();
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_init = id == 1 && contains(&command, b"cell-init");
        if id != own && !is_init {
            return Ok(());
        }
    }
    Err(io::Error::other("there are none"))
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

fn without_capabilities() -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim)
    };
    let none = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"]
        .into_iter()
        .all(|set| field(set).is_some_and(|held| held.bytes().all(|byte| byte == b'0')));
    if none && field("NoNewPrivs:") == Some("1") {
        Err(io::Error::other("none is left, and none can be gained"))
    } else {
        Ok(())
    }
}

fn network() -> Vec<Attempt> {
    // Connecting a UDP socket sends nothing: it only needs a route.
    let route = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect(OUTSIDE_ADDRESS));
    vec![
        attempt("send to an address outside", route),
        attempt("look a name up", UNLISTED_HOST.to_socket_addrs()),
        attempt(
            "reach a host that is not listed, through the proxy",
            through_proxy(),
        ),
    ]
}

/// Asks the proxy for a host that is not on the list.
fn through_proxy() -> io::Result<()> {
    let proxy: SocketAddr = MODEL_PROXY.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&proxy, CONNECT_TIMEOUT)?;
    stream.set_read_timeout(Some(PROXY_ANSWER_TIMEOUT))?;
    let (host, port) = UNLISTED_HOST;
    write!(
        stream,
        "CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    )?;
    let mut answer = [0; 256];
    let count = stream.read(&mut answer)?;
    let line = String::from_utf8_lossy(&answer[..count]);
    let line = line.lines().next().unwrap_or_default().to_owned();
    if line.starts_with("HTTP/1.1 2") {
        Ok(())
    } else {
        Err(io::Error::other(format!("the proxy answered {line:?}")))
    }
}

/// System calls that do not exist inside. Each would only change this process.
fn system_calls() -> Vec<Attempt> {
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
            // SAFETY: every pointer among the arguments is null, so the kernel touches no memory; a call can only
            // affect this process, which ends soon.
            let result = unsafe { libc::syscall(number, a, b, c, d, 0) };
            let error = (result == -1).then(io::Error::last_os_error);
            // The kernel rejects a null pointer only after it has allowed the call.
            let error = error.filter(|error| error.raw_os_error() != Some(libc::EFAULT));
            attempt(what, error.map_or(Ok(()), Err))
        })
        .collect()
}
