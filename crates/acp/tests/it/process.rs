//! The bridge as a process, with shell scripts as agents.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use breakglass_agent::wire;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const NAME: &str = "7f9c2ba4-e88f-427d-8561-0123456789ab";
/// Maximum time for anything that a test waits for.
const DEADLINE: Duration = Duration::from_secs(60);

/// Shell functions for the handshake and a new session.
const FUNCTIONS: &str = r#"
greet() { echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":1,"agentInfo":{"name":"script","version":"7"}}}'; }
begin() { echo '{"jsonrpc":"2.0","id":2,"result":{"sessionId":"s"}}'; }
"#;

/// A running bridge, which is killed on drop.
struct Bridge {
    child: Child,
    home: TempDir,
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bridge {
    fn start(script: &str, arguments: &[&str]) -> Bridge {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_breakglass-acp"));
        command.args(arguments).arg("--").args(["sh", "-c"]);
        command.arg(format!("{FUNCTIONS}\n{script}"));
        command.env("HOME", home.path()).current_dir(home.path());
        command.env("KEY", "x");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        Bridge { child, home }
    }

    fn with_session(script: &str) -> Bridge {
        Bridge::start(script, &["--session-id", NAME])
    }

    fn send(&mut self, line: &str) {
        self.child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
    }

    /// Reads its output up to a line that contains `word`.
    fn read_until(&mut self, word: &str) -> Vec<String> {
        let mut all = Vec::new();
        let out = BufReader::new(self.child.stdout.as_mut().unwrap());
        for line in out.lines() {
            let line = line.unwrap();
            let found = line.contains(word);
            all.push(line);
            if found {
                return all;
            }
        }
        panic!("it did not print {word}: {all:?}; {}", self.stderr());
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    }

    /// Its exit status and standard error.
    fn end(mut self) -> (ExitStatus, String) {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.stderr());
            }
            assert!(Instant::now() < until, "it did not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn number_in(file: &Path) -> i32 {
    let until = Instant::now() + DEADLINE;
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Ok(number) = text.trim().parse() {
            return number;
        }
        assert!(Instant::now() < until, "the agent did not start");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn until_gone(process: i32) {
    let until = Instant::now() + DEADLINE;
    let stat = format!("/proc/{process}/stat");
    let is_alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z"));
    while is_alive() {
        assert!(Instant::now() < until, "the agent is_alive");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_agent_dies_with_a_killed_bridge() {
    let mut bridge = Bridge::with_session("echo $$ > pid; exec sleep 600");
    let agent = number_in(&bridge.home.path().join("pid"));
    kill_process(Pid::from_child(&bridge.child), Signal::KILL).unwrap();
    bridge.child.wait().unwrap();
    until_gone(agent);
}

#[test]
fn the_bridge_and_its_agent_end_when_the_server_closes_its_input() {
    let mut bridge = Bridge::with_session("echo $$ > pid; greet; begin; exec sleep 600");
    bridge.send(&wire::initialize("i"));
    bridge.read_until("control_response");
    let agent = number_in(&bridge.home.path().join("pid"));
    drop(bridge.child.stdin.take());
    assert!(bridge.end().0.success());
    until_gone(agent);
}

#[test]
fn invalid_messages_are_ignored() {
    let nonsense = r#"
        echo 'Welcome!'; echo '[1,2]'; echo '{}'; echo 'null'; printf '\377\376\n'
        greet
        echo '{"id":7,"method":"fs/read_text_file","params":{"path":"/etc/shadow"}}'
        echo '{"id":99,"result":{}}'; echo '{"method":"session/update"}'
        begin; exec sleep 600"#;
    let mut bridge = Bridge::with_session(nonsense);
    bridge.send(&wire::initialize("i"));
    assert!(bridge.read_until("control_response")[0].contains("success"));
}

#[test]
fn an_endless_line_ends_the_agent_with_an_error() {
    let (status, stderr) = Bridge::with_session("greet; begin; exec tr '\\0' x < /dev/zero").end();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("a line of more than 8 MiB"), "{stderr}");
}

#[test]
fn another_protocol_version_is_refused_with_an_error() {
    let script = r#"echo '{"id":1,"result":{"protocolVersion":2}}'; exec sleep 600"#;
    let (status, stderr) = Bridge::start(script, &["--version"]).end();
    assert_eq!(status.code(), Some(1));
    assert!(
        stderr.contains("version 2 of ACP; only version 1"),
        "{stderr}"
    );
}

#[test]
fn the_version_is_one_line_and_the_agent_ends() {
    let mut bridge = Bridge::start("echo $$ > pid; greet; exec sleep 600", &["--version"]);
    assert_eq!(bridge.read_until("script"), ["script 7 (ACP 1)"]);
    let agent = number_in(&bridge.home.path().join("pid"));
    assert!(bridge.end().0.success());
    until_gone(agent);
}

#[test]
fn an_unknown_session_has_the_error_of_the_claude_cli() {
    let (status, stderr) = Bridge::start("exec sleep 600", &["--resume", NAME]).end();
    assert_eq!(status.code(), Some(1));
    assert!(
        stderr.contains("No conversation found with session ID"),
        "{stderr}"
    );
}

#[test]
fn a_login_from_a_variable_is_used_if_the_agent_needs_one() {
    let script = r#"
        echo '{"id":1,"result":{"protocolVersion":1,"authMethods":[{"id":"web"},
            {"id":"other","type":"env_var","vars":[{"name":"NO_SUCH_KEY"}]},
            {"id":"key","type":"env_var","vars":[{"name":"KEY"}]}]}}' | tr -d '\n'; echo
        echo '{"id":2,"error":{"code":-32000,"message":"Authentication required"}}'
        while read -r line; do case $line in
            *authenticate*'"key"'*) echo '{"id":3,"result":{}}'; echo '{"id":4,"result":{"sessionId":"s"}}';;
        esac; done"#;
    let mut bridge = Bridge::with_session(script);
    bridge.send(&wire::initialize("i"));
    bridge.read_until("control_response");
    bridge.send(&wire::prompt("Hello?"));
    bridge.read_until("requesting");
    bridge.send(&wire::interrupt("stop"));
    assert!(!bridge.read_until("stop").concat().contains("Not logged in"));
}

#[test]
fn without_a_login_each_prompt_fails_after_another_attempt() {
    let script = r#"
        greet; echo '{"id":2,"error":{"code":-32000,"message":"Authentication required"}}'
        while read -r line; do case $line in
            *'"id":3'*) echo '{"id":3,"error":{"code":-32000,"message":"Authentication required"}}';;
            *'"id":4'*) echo '{"id":4,"result":{"sessionId":"s"}}';;
            *'"id":5'*) echo '{"id":5,"result":{"stopReason":"end_turn"}}';;
        esac; done"#;
    let mut bridge = Bridge::with_session(script);
    bridge.send(&wire::initialize("i"));
    bridge.read_until("control_response");
    bridge.send(&wire::prompt("Hello?"));
    let output = bridge.read_until("\"result\",").concat();
    assert!(
        output.contains("Not logged in") && output.contains("authentication_failed"),
        "{output}"
    );
    bridge.send(&wire::prompt("And now?"));
    let output = bridge.read_until("\"result\",").concat();
    assert!(output.contains("\"is_error\":false"), "{output}");
}

#[test]
fn an_unknown_model_is_named_in_the_error() {
    let arguments = ["--session-id", NAME, "--model", "of-another"];
    let (status, stderr) = Bridge::start("greet; begin; exec sleep 600", &arguments).end();
    assert_eq!(status.code(), Some(1));
    assert!(
        stderr.contains("does not accept the model of-another"),
        "{stderr}"
    );
}
