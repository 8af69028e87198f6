//! The scripted agent as a program, on the simulated target.
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use crate::common::Drill;
use breakglass_drill::Scenario;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const WAIT_TIMEOUT: Duration = Duration::from_secs(120);

struct Agent {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Agent {
    /// Starts the program with an `ssh` on its path that resolves `devvm` and `pve`.
    fn start(drill: &Drill) -> Agent {
        let bin = drill.dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let host = |name, port| format!("Host {name}\n HostName 127.0.0.1\n Port {port}\n");
        let config = format!(
            "{}{}Host *\n User breakglass\n IdentityFile {}\n IdentitiesOnly yes\n BatchMode yes\n LogLevel ERROR\n UserKnownHostsFile {}\n",
            host("devvm", drill.simulation.guest_addr().port()),
            host("pve", drill.simulation.host_addr().port()),
            drill.key.display(),
            drill.dir.path().join("known_hosts").display()
        );
        let file = drill.dir.path().join("ssh_config");
        std::fs::write(&file, config).unwrap();
        let shim = bin.join("ssh");
        std::fs::write(
            &shim,
            format!(
                "#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n",
                file.display()
            ),
        )
        .unwrap();
        std::fs::set_permissions(&shim, PermissionsExt::from_mode(0o755)).unwrap();
        let mut child = Command::new(program())
            .args([
                "-p",
                "--model",
                "sonnet",
                "--session-id",
                "5f0d7d7e-0000-4000-8000-000000000001",
            ])
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Agent {
            child,
            stdin,
            lines: BufReader::new(stdout).lines(),
        }
    }

    async fn send(&mut self, line: Value) {
        self.stdin
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
    }

    async fn prompt(&mut self, text: &str) {
        self.send(json!({"type": "user", "message": {"role": "user", "content": text}, "parent_tool_use_id": null, "session_id": ""})).await;
    }

    /// The lines up to and including the first that `last` accepts.
    async fn until(&mut self, last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut seen = Vec::new();
        loop {
            let line = tokio::time::timeout(WAIT_TIMEOUT, self.lines.next_line())
                .await
                .expect("the agent writes a line in time");
            let line: Value =
                serde_json::from_str(&line.unwrap().expect("the agent is still running")).unwrap();
            let done = last(&line);
            seen.push(line);
            if done {
                return seen;
            }
        }
    }

    async fn turn(&mut self, prompt: &str) -> Vec<Value> {
        self.prompt(prompt).await;
        self.until(|line| line["type"] == "result").await
    }
}

/// The path of the example `agent`.
fn program() -> std::path::PathBuf {
    let mut dir = std::env::current_exe().unwrap();
    dir.pop();
    dir.pop();
    dir.join("examples/agent")
}

/// Asserts that one turn repairs the broken machine, and that a later question is answered with the
/// same report.
async fn repairs(scenario: Scenario) {
    let drill = Drill::start(scenario).await;
    let mut agent = Agent::start(&drill);
    let lines = agent.turn("Triage the devvm.").await;
    let result = lines.last().unwrap();
    assert_eq!(result["subtype"], "success");
    let report = result["result"].as_str().unwrap();
    assert!(drill.simulation.is_repaired(), "{scenario}: {report}");
    assert!(
        report.contains("**Found**") && report.contains("**Done**"),
        "{report}"
    );
    let recalled = agent.turn("What happened?").await;
    assert_eq!(recalled.last().unwrap()["result"], report, "{scenario}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_repairs_and_reports_a_full_disk() {
    repairs(Scenario::DiskFull).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_repairs_and_reports_exhausted_memory() {
    repairs(Scenario::Oom).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_repairs_and_reports_a_stalled_disk() {
    repairs(Scenario::IoStall).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_repairs_and_reports_a_panic() {
    repairs(Scenario::Panic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_has_the_recorded_format() {
    let drill = Drill::start(Scenario::DiskFull).await;
    let mut agent = Agent::start(&drill);
    agent.send(json!({"type": "control_request", "request_id": "init-1", "request": {"subtype": "initialize"}})).await;
    let answer = agent.until(|line| line["type"] == "control_response").await;
    assert_eq!(answer[0]["response"]["request_id"], "init-1");
    let lines = agent.turn("status").await;
    assert_eq!(
        (&lines[0]["type"], &lines[0]["subtype"]),
        (&json!("system"), &json!("init"))
    );
    assert_eq!(
        lines[0]["session_id"],
        "5f0d7d7e-0000-4000-8000-000000000001"
    );
    let of = |kind: &str| {
        lines
            .iter()
            .filter(|line| line["type"] == kind)
            .cloned()
            .collect::<Vec<_>>()
    };
    let used: Vec<Value> = of("assistant")
        .iter()
        .map(|line| line["message"]["content"][0].clone())
        .filter(|b| b["type"] == "tool_use")
        .map(|b| b["id"].clone())
        .collect();
    let answered: Vec<Value> = of("user")
        .iter()
        .map(|line| line["message"]["content"][0]["tool_use_id"].clone())
        .collect();
    assert_eq!(used, answered, "every tool call is answered once, in order");
    let words: String = of("stream_event")
        .iter()
        .filter_map(|line| line["event"]["delta"]["text"].as_str().map(str::to_owned))
        .collect();
    let blocks: String = of("assistant")
        .iter()
        .filter_map(|line| {
            line["message"]["content"][0]["text"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(words, blocks, "the words make up the blocks");
    assert!(
        !drill.simulation.is_repaired(),
        "a status prompt changes nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_the_command_and_the_turn() {
    let drill = Drill::start(Scenario::IoStall).await;
    let mut agent = Agent::start(&drill);
    agent.prompt("Triage").await;
    agent
        .until(|line| line["event"]["type"] == "message_stop")
        .await;
    agent.send(json!({"type": "control_request", "request_id": "stop-1", "request": {"subtype": "interrupt"}})).await;
    let lines = agent.until(|line| line["type"] == "result").await;
    let result = lines.last().unwrap();
    assert_eq!(
        (&result["subtype"], &result["is_error"]),
        (&json!("error_during_execution"), &json!(true))
    );
    assert!(
        lines
            .iter()
            .any(|line| line["response"]["request_id"] == "stop-1")
    );
    drop(agent.stdin);
    let status = tokio::time::timeout(WAIT_TIMEOUT, agent.child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(1), "the last turn ended in an error");
}
