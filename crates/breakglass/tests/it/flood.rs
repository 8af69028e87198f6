//! A guest that floods a command of the agent's for a minute, and what others notice of it: nothing. Real
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

/// The guest prints numbered blocks for at least so long …
const MINUTE_MS: u64 = 60_000;
/// … and at least so many of them, so that one that was held in memory or written to disk would show.
const LEAST_BLOCKS: u64 = 4096;
const BLOCK: u64 = 64 * 1024;
const END: &str = "end\n";
/// What the server may need more than before the flood, and its record on disk: a quarter of the least
/// flood, and a thirty-second part.
const MEMORY: u64 = LEAST_BLOCKS * BLOCK / 4;
const RECORD: u64 = LEAST_BLOCKS * BLOCK / 32;
/// What is kept of one command's output, head and tail.
const KEPT: u64 = 64 * 1024;
/// How long is waited for the end of the flood between two looks at the server.
const PAUSE: Duration = Duration::from_secs(1);

/// One second more than a minute, since a second had begun already when it was first asked for the time.
fn flood() -> String {
    format!(
        "my ($end, $n) = (time + 61, 0);\n\
         do {{ printf '%-65535d'.\"\\n\", $n++ or exit 1 }} while time < $end || $n < {LEAST_BLOCKS};\n\
         print 'end'.\"\\n\";\n"
    )
}

/// Says how many blocks came, if every byte of every one did, in order, and the end.
const CHECK: &str = "my ($n, $block) = (0, '');\n\
     while (read(STDIN, $block, 65536) == 65536) {\n\
       $block eq sprintf('%-65535d'.\"\\n\", $n) or die \"block $n is another\\n\";\n\
       $n++;\n\
     }\n\
     $block eq \"end\\n\" or die \"no end after $n blocks\\n\";\n\
     print \"whole: $n blocks\\n\";\n";

/// The call by which the agent has the guest flood it, and reads all of it. The CLI must not end it first.
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

/// Bytes of the server's memory, by the name of a line of its `status`.
fn memory(server: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{server}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// Bytes of the record and of what SQLite keeps beside it.
fn record(data: &Path) -> u64 {
    ["record.db", "record.db-wal"]
        .iter()
        .filter_map(|name| fs::metadata(data.join(name)).ok())
        .map(|file| file.len())
        .sum()
}

/// A verb, its end in a stream that is attached only now, and what the flood has cost by then.
fn look(served: &Served, client: &Client, incident: &str, before: (u64, u64)) {
    let status = client.verb("status");
    assert_eq!(status.body["outcome"], "done", "{status:?}");
    let operation = &status.body["operation"];
    let told = client
        .events(incident, 0)
        .any(|event| event.event == "verb_finished" && event.data["operation"] == *operation);
    assert!(told, "the stream does not tell of {status:?}");
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

/// The record says how much the guest printed, keeps its head and tail, and says that the rest is not kept.
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

/// Verbs that ended while the command ran, by the log's own order.
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
async fn a_guest_that_floods_for_a_minute_is_relayed_whole_and_disturbs_nobody() {
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
