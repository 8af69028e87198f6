//! Agents other than the claude CLI in the sandbox, started by this program as their bridge.

use std::fs;
use std::path::{Path, PathBuf};

use breakglass_agent::sandbox::Sandbox;
use breakglass_agent::{Account, AcpAgent, AgentKind, AgentOptions, check_cli};
use breakglass_rig::acp;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_breakglass");

/// The files about accounts and names inside the sandbox.
fn cell(dir: &Path) -> PathBuf {
    let cell = dir.join("cell");
    fs::create_dir(&cell).unwrap();
    fs::write(
        cell.join("passwd"),
        "agent:x:64321:64321::/home/agent:/bin/sh\n",
    )
    .unwrap();
    for name in ["group", "hosts", "nsswitch.conf"] {
        fs::write(cell.join(name), "").unwrap();
    }
    cell
}

fn options(dir: &TempDir, command: PathBuf, args: &[&str]) -> AgentOptions {
    let mut options = AgentOptions::new(PROGRAM, dir.path().join("home"));
    options.args = vec!["acp".to_owned()];
    options.work_dir = dir.path().join("work");
    options.model = "default".to_owned();
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    options.kind = AgentKind::Acp(AcpAgent { command, args });
    options.env = vec![("PATH".to_owned(), std::env::var("PATH").unwrap())];
    options.sandbox = Some(Sandbox {
        bwrap: "/usr/bin/bwrap".into(),
        program: PROGRAM.into(),
        cell: cell(dir.path()),
        account: Some(Account {
            uid: 64_321,
            gid: 64_321,
        }),
        readable: Vec::new(),
    });
    options
}

#[tokio::test]
async fn both_other_agents_start_in_the_sandbox() {
    for (command, args, name) in [
        (acp::codex(), &[][..], "Codex 0.16.0"),
        (acp::opencode(), &["acp"][..], "OpenCode 1.18.33"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let health = check_cli(&options(&dir, command, args)).await;
        assert!(health.available, "{health:?}");
        assert_eq!(health.version.unwrap(), format!("{name} (ACP 1)"));
    }
}

#[tokio::test]
async fn missing_agent_is_reported_from_inside_the_sandbox() {
    let dir = tempfile::tempdir().unwrap();
    let health = check_cli(&options(&dir, "no-such-agent".into(), &[])).await;
    assert!(!health.available);
    assert!(
        health.message.contains("there is no no-such-agent"),
        "{health:?}"
    );
}
