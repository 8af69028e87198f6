//! What another process of the server's account can see of the server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::common::{Drill, Ended};

/// An account without privileges, for tests that run as root.
const UNPRIVILEGED_UID: u32 = 65534;

fn unprivileged(program: &str) -> Command {
    let mut command = Command::new(program);
    if rustix::process::getuid().is_root() {
        command.uid(UNPRIVILEGED_UID).gid(UNPRIVILEGED_UID);
    }
    command
}

/// The result of opening a file of the process from another process of its account.
fn look(process: u32, file: &str) -> String {
    let path = format!("/proc/{process}/{file}");
    let seen = unprivileged("head")
        .args(["-c", "1", &path])
        .output()
        .unwrap();
    String::from_utf8_lossy(&seen.stderr).into_owned()
}

#[test]
fn other_processes_of_the_account_cannot_read_the_servers_memory() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("breakglass");
    fs::copy(env!("CARGO_BIN_EXE_breakglass"), &program).unwrap();
    let mut command = unprivileged(program.to_str().unwrap());
    command.arg("drill");
    let drill = Drill::spawn(command);
    let plain = Ended(unprivileged("sleep").arg("60").spawn().unwrap());
    for file in ["environ", "maps", "mem", "fd/0", "root/etc/passwd", "cwd/."] {
        let refused = look(drill.pid(), file);
        assert!(
            refused.contains("Permission denied"),
            "{file} of the server: {refused:?}"
        );
        let open = look(plain.0.id(), file);
        assert!(
            !open.contains("Permission denied"),
            "{file} of any process: {open:?}"
        );
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", drill.pid())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let numbers: Vec<_> = core.unwrap().split_whitespace().skip(4).take(2).collect();
    assert_eq!(
        numbers,
        ["0", "0"],
        "a crash would write the memory to a file"
    );
}
