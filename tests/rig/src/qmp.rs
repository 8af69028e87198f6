//! A stand-in for QEMU's monitor: greets, negotiates, answers from a state directory.
//! It shows a screen of six pixels.
//!
//! It needs only std and serde_json, so that the gate's own tests can share it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A monitor that listens until it is dropped.
///
/// It reports the content of the file `runstate` in its state directory, or `running`. While a file
/// `monitor-hangs` exists, it accepts connections and sends nothing, like a stopped QEMU.
#[derive(Debug)]
pub struct Monitor {
    socket: PathBuf,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    /// Listens on `socket` and answers from `state`.
    ///
    /// # Panics
    /// When the socket can't be bound.
    #[must_use]
    pub fn start(socket: &Path, state: &Path) -> Monitor {
        let listener = UnixListener::bind(socket).unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let (state, over) = (state.to_owned(), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            let mut disk = Disk::default();
            // One client at a time, like QEMU.
            for client in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let _ = client.and_then(|client| converse(&client, &state, &over, &mut disk));
            }
        });
        Monitor {
            socket: socket.to_owned(),
            ended,
            thread: Some(thread),
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread; if the socket's directory is gone already, nothing can, and it is left.
        let woken = UnixStream::connect(&self.socket).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.socket);
    }
}

fn converse(
    client: &UnixStream,
    state: &Path,
    ended: &AtomicBool,
    disk: &mut Disk,
) -> std::io::Result<()> {
    while state.join("monitor-hangs").exists() && !ended.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(10));
    }
    client.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut out = client;
    writeln!(
        out,
        r#"{{"QMP": {{"version": {{}}, "capabilities": ["oob"]}}}}"#
    )?;
    for line in BufReader::new(client).lines() {
        let request: serde_json::Value = serde_json::from_str(&line?)?;
        let answer = match request["execute"].as_str() {
            Some("qmp_capabilities") => "{}".to_owned(),
            Some("query-status") => status(state),
            Some("query-block" | "query-blockstats") => disk.counters(state),
            Some("screendump") => {
                let file = request["arguments"]["filename"]
                    .as_str()
                    .unwrap_or_default();
                fs::write(file, screen())?;
                "{}".to_owned()
            }
            _ => {
                writeln!(
                    out,
                    r#"{{"error": {{"class": "CommandNotFound", "desc": "no"}}}}"#
                )?;
                continue;
            }
        };
        // An event between question and answer, as with a busy guest.
        writeln!(
            out,
            r#"{{"timestamp": {{"seconds": 1}}, "event": "RTC_CHANGE"}}"#
        )?;
        writeln!(out, r#"{{"return": {answer}}}"#)?;
    }
    Ok(())
}

/// Writes a hundred blocks between two queries, until a file `stalled` exists.
#[derive(Debug, Default)]
struct Disk {
    writes: u64,
}

impl Disk {
    fn counters(&mut self, state: &Path) -> String {
        if !state.join("stalled").exists() {
            self.writes += 100;
        }
        let (writes, bytes) = (self.writes, self.writes * 4096);
        format!(
            r#"[{{"device": "drive-virtio0", "stats": {{"wr_operations": {writes}, "wr_bytes": {bytes}}}}}]"#
        )
    }
}

/// Three pixels by two: black, white, red; and back.
fn screen() -> Vec<u8> {
    let mut ppm = b"P6\n3 2\n255\n".to_vec();
    for pixel in [[0, 0, 0], [255, 255, 255], [255, 0, 0]] {
        ppm.extend(pixel);
    }
    for pixel in [[255, 0, 0], [255, 255, 255], [0, 0, 0]] {
        ppm.extend(pixel);
    }
    ppm
}

fn status(state: &Path) -> String {
    let word = fs::read_to_string(state.join("runstate")).unwrap_or_else(|_| "running".to_owned());
    let word = word.trim();
    format!(
        r#"{{"status": "{word}", "running": {}}}"#,
        word == "running"
    )
}
