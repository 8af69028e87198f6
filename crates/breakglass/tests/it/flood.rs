//! A guest floods a command of the agent for a minute, without any effect on others. Real
//! claude CLI, its stock OpenSSH client, real server, real sshd as the guest, real gate.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::common::serve::Served;
use crate::common::{Client, Sse};
use breakglass_rig::model::{ModelServer, Reply};
use serde_json::json;
use tempfile::TempDir;

/// The guest prints numbered blocks for at least this long …
const MINUTE_MS: u64 = 60_000;
/// … and at least this many, so that a flood kept in memory or on disk would be visible.
const LEAST_BLOCKS: u64 = 4096;
const BLOCK: u64 = 64 * 1024;
const END: &str = "end\n";
/// Maximum growth of the server's memory and of its log on disk: a quarter of the minimum
/// flood, and one thirty-second.
const MEMORY: u64 = LEAST_BLOCKS * BLOCK / 4;
const RECORD: u64 = LEAST_BLOCKS * BLOCK / 32;
/// Maximum stored output of one command, head and tail.
const KEPT: u64 = 64 * 1024;
/// Interval between two measurements of the server.
const PAUSE: Duration = Duration::from_secs(1);

/// One second more than a minute, because the first second may be a part of one.
fn flood() -> String {
    format!(
        "my ($end, $n) = (time + 61, 0);\n\
         do {{ printf '%-65535d'.\"\\n\", $n++ or exit 1 }} while time < $end || $n < {LEAST_BLOCKS};\n\
         print 'end'.\"\\n\";\n"
    )
}

/// Prints the number of blocks if all arrived completely, in order, with the end.
const CHECK: &str = "my ($n, $block) = (0, '');\n\
     while (read(STDIN, $block, 65536) == 65536) {\n\
       $block eq sprintf('%-65535d'.\"\\n\", $n) or die \"block $n is another\\n\";\n\
       $n++;\n\
     }\n\
     $block eq \"end\\n\" or die \"no end after $n blocks\\n\";\n\
     print \"whole: $n blocks\\n\";\n";

/// The agent's call that starts the flood and reads all of it. The CLI must not end it first.
fn call(dir: &TempDir) -> Reply {
    let path = dir.path().join("flood.pl");
    fs::write(&path, flood()).unwrap();
    let command = format!(
        "cat > ~/check.pl <<'EOF'\n{CHECK}EOF\nssh devvm perl {} | perl ~/check.pl",
        path.display()
    );
    Reply::tool(
        "Bash",
        json!({ "command": command, "description": "a flood", "timeout": 600_000 }),
    )
}

/// A line of the server's `status` file in bytes, by its name.
fn memory(server: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{server}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// Size in bytes of the log and SQLite's files beside it.
fn record(data: &Path) -> u64 {
    ["record.db", "record.db-wal"]
        .iter()
        .filter_map(|name| fs::metadata(data.join(name)).ok())
        .map(|file| file.len())
        .sum()
}

/// Runs a verb, reads its end from a new stream, and checks the cost of the flood so far.
fn look(served: &Served, client: &Client, incident: &str, before: (u64, u64)) {
    let status = client.verb("status");
    assert_eq!(status.body["outcome"], "done", "{status:?}");
    let operation = &status.body["operation"];
    let is_streamed = client
        .events(incident, 0)
        .any(|event| event.event == "verb_finished" && event.data["operation"] == *operation);
    assert!(is_streamed, "the stream lacks {status:?}");
    let peak = memory(served.pid(), "VmHWM:");
    assert!(peak < before.0 + MEMORY, "{peak} bytes after {before:?}");
    let size = record(&served.data_dir());
    assert!(size < before.1 + RECORD, "{size} bytes after {before:?}");
}

/// The one event of `kind`.
fn the<'a>(all: &'a [Sse], kind: &str) -> &'a Sse {
    let mut found = all.iter().filter(|event| event.event == kind);
    let (first, second) = (found.next(), found.next());
    assert!(second.is_none(), "two of {kind}: {first:?} {second:?}");
    first.unwrap_or_else(|| panic!("no {kind} in {all:#?}"))
}

/// The log has the size of the output, its head and tail, and the size of the omitted part.
fn is_recorded(all: &[Sse], printed: u64) {
    let kept: Vec<_> = all
        .iter()
        .filter(|event| event.event == "command_output")
        .map(|event| event.data["text"].as_str().unwrap())
        .collect();
    let kept = kept.concat();
    assert!(kept.starts_with("0    ") && kept.ends_with(END), "{kept}");
    assert_eq!(kept.len() as u64, KEPT);
    let finished = &the(all, "command_finished").data;
    assert_eq!(finished["exit_code"], 0, "{finished}");
    assert!(
        finished["duration_ms"].as_u64().unwrap() >= MINUTE_MS,
        "{finished}"
    );
    assert_eq!(finished["omitted_bytes"], printed - KEPT);
    let notices = all
        .iter()
        .filter(|event| event.data["code"] == "command_output_bounded");
    assert_eq!(notices.count(), 1, "{all:#?}");
}

/// Number of verbs that finished while the command ran, by the order of the log.
fn verbs_meanwhile(all: &[Sse]) -> usize {
    let (begun, ended) = (
        the(all, "command_started").id,
        the(all, "command_finished").id,
    );
    all.iter()
        .filter(|event| event.event == "verb_finished" && event.id > begun && event.id < ended)
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_minute_flood_is_relayed_completely_without_harm_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let model = ModelServer::start([call(&dir), Reply::text("It floods.")]).await;
    let url = model.url();
    tokio::task::block_in_place(|| {
        let served = Served::with_agent(&url);
        let client = served.client();
        let opened = client.post("/api/incidents", &json!({ "target": "devvm" }));
        let incident = opened.body["incident"].as_str().unwrap();
        let before = (memory(served.pid(), "VmRSS:"), record(&served.data_dir()));
        let mut events = client.ask(incident, "Read its log.");
        let begun = events.until("command_started");
        let (tell, ended) = channel();
        let reading = thread::spawn(move || {
            let mut all = vec![begun];
            for event in events {
                let kind = event.event.clone();
                all.push(event);
                match kind.as_str() {
                    "command_finished" => drop(tell.send(())),
                    "turn_ended" => break,
                    _ => {}
                }
            }
            all
        });
        while ended.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            look(&served, &client, incident, before);
        }
        let all = reading.join().unwrap();
        let said = the(&all, "tool_finished").data["output"].as_str().unwrap();
        let blocks = said.trim().strip_prefix("whole: ");
        let blocks = blocks.and_then(|said| said.strip_suffix(" blocks"));
        let blocks: u64 = blocks.and_then(|n| n.parse().ok()).expect(said);
        assert!(blocks >= LEAST_BLOCKS, "{blocks}");
        is_recorded(&all, blocks * BLOCK + END.len() as u64);
        assert!(verbs_meanwhile(&all) >= 2, "{all:#?}");
    });
}
