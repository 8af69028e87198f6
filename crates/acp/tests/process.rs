//! The bridge as a process, with agents that are scripts.

// Helpers of tests are tests: here a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use breakglass_agent::wire;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const NAME: &str = "7f9c2ba4-e88f-427d-8561-0123456789ab";
/// How long anything may take that a test waits for.
const DEADLINE: Duration = Duration::from_secs(60);

/// An agent that greets and begins a session; `$1` is its first line, `case` follows for more.
const FRIENDLY: &str = r#"
greet() { echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":1,"agentInfo":{"name":"script","version":"7"}}}'; }
begin() { echo '{"jsonrpc":"2.0","id":2,"result":{"sessionId":"s"}}'; }
"#;

/// A running bridge; killed by Drop.
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
        command.arg(format!("{FRIENDLY}\n{script}"));
        command.env("HOME", home.path()).current_dir(home.path());
        command.env("KEY", "x");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        Bridge { child, home }
    }

    fn talk(script: &str) -> Bridge {
        Bridge::start(script, &["--session-id", NAME])
    }

    fn say(&mut self, line: &str) {
        self.child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
    }

    /// Reads what it prints up to a line that holds `word`.
    fn hear(&mut self, word: &str) -> Vec<String> {
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
        panic!("it did not say {word}: {all:?}; {}", self.last_words());
    }

    fn last_words(&mut self) -> String {
        let mut words = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut words)
            .unwrap();
        words
    }

    /// How it ended, and its last words.
    fn end(mut self) -> (ExitStatus, String) {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.last_words());
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
    let lives = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z"));
    while lives() {
        assert!(Instant::now() < until, "the agent lives");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_killed_bridge_takes_its_agent_along() {
    let mut bridge = Bridge::talk("echo $$ > pid; exec sleep 600");
    let agent = number_in(&bridge.home.path().join("pid"));
    kill_process(Pid::from_child(&bridge.child), Signal::KILL).unwrap();
    bridge.child.wait().unwrap();
    until_gone(agent);
}

#[test]
fn a_bridge_whose_server_is_done_ends_its_agent_and_itself() {
    let mut bridge = Bridge::talk("echo $$ > pid; greet; begin; exec sleep 600");
    bridge.say(&wire::initialize("i"));
    bridge.hear("control_response");
    let agent = number_in(&bridge.home.path().join("pid"));
    drop(bridge.child.stdin.take());
    assert!(bridge.end().0.success());
    until_gone(agent);
}

#[test]
fn what_is_no_message_is_passed_over() {
    let nonsense = r#"
        echo 'Welcome!'; echo '[1,2]'; echo '{}'; echo 'null'; printf '\377\376\n'
        greet
        echo '{"id":7,"method":"fs/read_text_file","params":{"path":"/etc/shadow"}}'
        echo '{"id":99,"result":{}}'; echo '{"method":"session/update"}'
        begin; exec sleep 600"#;
    let mut bridge = Bridge::talk(nonsense);
    bridge.say(&wire::initialize("i"));
    assert!(bridge.hear("control_response")[0].contains("success"));
}

#[test]
fn a_line_without_end_ends_the_agent_with_a_sentence() {
    let (status, words) = Bridge::talk("greet; begin; exec tr '\\0' x < /dev/zero").end();
    assert_eq!(status.code(), Some(1));
    assert!(words.contains("a line of more than 8 MiB"), "{words}");
}

#[test]
fn another_version_of_the_protocol_is_refused_in_a_sentence() {
    let script = r#"echo '{"id":1,"result":{"protocolVersion":2}}'; exec sleep 600"#;
    let (status, words) = Bridge::start(script, &["--version"]).end();
    assert_eq!(status.code(), Some(1));
    assert!(
        words.contains("version 2 of ACP; only version 1"),
        "{words}"
    );
}

#[test]
fn the_version_is_one_line_and_the_agent_is_gone() {
    let mut bridge = Bridge::start("echo $$ > pid; greet; exec sleep 600", &["--version"]);
    assert_eq!(bridge.hear("script"), ["script 7 (ACP 1)"]);
    let agent = number_in(&bridge.home.path().join("pid"));
    assert!(bridge.end().0.success());
    until_gone(agent);
}

#[test]
fn a_session_that_is_not_known_is_said_as_the_claude_cli_says_it() {
    let (status, words) = Bridge::start("exec sleep 600", &["--resume", NAME]).end();
    assert_eq!(status.code(), Some(1));
    assert!(
        words.contains("No conversation found with session ID"),
        "{words}"
    );
}

#[test]
fn a_login_by_a_variable_that_is_set_is_used_where_the_agent_wants_one() {
    let script = r#"
        echo '{"id":1,"result":{"protocolVersion":1,"authMethods":[{"id":"web"},
            {"id":"other","type":"env_var","vars":[{"name":"NO_SUCH_KEY"}]},
            {"id":"key","type":"env_var","vars":[{"name":"KEY"}]}]}}' | tr -d '\n'; echo
        echo '{"id":2,"error":{"code":-32000,"message":"Authentication required"}}'
        while read -r line; do case $line in
            *authenticate*'"key"'*) echo '{"id":3,"result":{}}'; echo '{"id":4,"result":{"sessionId":"s"}}';;
        esac; done"#;
    let mut bridge = Bridge::talk(script);
    bridge.say(&wire::initialize("i"));
    bridge.hear("control_response");
    bridge.say(&wire::prompt("Hello?"));
    bridge.hear("requesting");
    bridge.say(&wire::interrupt("stop"));
    assert!(!bridge.hear("stop").concat().contains("Not logged in"));
}

#[test]
fn without_a_login_each_prompt_is_answered_with_that_and_another_try_is_made() {
    let script = r#"
        greet; echo '{"id":2,"error":{"code":-32000,"message":"Authentication required"}}'
        while read -r line; do case $line in
            *'"id":3'*) echo '{"id":3,"error":{"code":-32000,"message":"Authentication required"}}';;
            *'"id":4'*) echo '{"id":4,"result":{"sessionId":"s"}}';;
            *'"id":5'*) echo '{"id":5,"result":{"stopReason":"end_turn"}}';;
        esac; done"#;
    let mut bridge = Bridge::talk(script);
    bridge.say(&wire::initialize("i"));
    bridge.hear("control_response");
    bridge.say(&wire::prompt("Hello?"));
    let told = bridge.hear("\"result\",").concat();
    assert!(
        told.contains("Not logged in") && told.contains("authentication_failed"),
        "{told}"
    );
    bridge.say(&wire::prompt("And now?"));
    let told = bridge.hear("\"result\",").concat();
    assert!(told.contains("\"is_error\":false"), "{told}");
}

#[test]
fn an_agent_that_does_not_take_the_model_says_which_one() {
    let arguments = ["--session-id", NAME, "--model", "of-another"];
    let (status, words) = Bridge::start("greet; begin; exec sleep 600", &arguments).end();
    assert_eq!(status.code(), Some(1));
    assert!(
        words.contains("does not take the model of-another"),
        "{words}"
    );
}
