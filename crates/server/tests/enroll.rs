//! `breakglass enroll` against real machines in throw-away roots: real sshd, useradd, visudo, sudo and
//! the real gate, each machine behind a router that changes the address it sees.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod common;

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use breakglass_rig::gate::gate_binary;
use breakglass_rig::machine::Machine;
use breakglass_rig::nat::Nat;
use common::breakglass;
use common::serve::{TOKEN, keygen};
use serde_json::Value;
use tempfile::TempDir;

/// As which the guest sees this machine.
const TO_GUEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// As which the host sees it.
const TO_HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const GUEST_KEYS: &str = "/home/breakglass/.ssh/authorized_keys";
const HOST_KEYS: &str = "/root/.ssh/authorized_keys";

/// The operator's ssh, which can fail at its n-th call: before it, with half of what it sends, after it
/// (and enroll is killed with it), or in the middle of the script.
const SSH: &str = r#"#!/bin/sh
n=$(($(cat DIR/calls 2>/dev/null || echo 0) + 1))
echo $n >DIR/calls
case $(cat DIR/fault 2>/dev/null) in
  "before $n") exit 255 ;;
  "half $n") head -c 3000 | /usr/bin/ssh "$@" >/dev/null; exit 255 ;;
  "after $n") /usr/bin/ssh "$@" >/dev/null; kill -9 $PPID; exit 255 ;;
  "middle $n") sed 's/^  authorize$/  kill -9 $$/' | /usr/bin/ssh "$@" ;;
  *) exec /usr/bin/ssh "$@" ;;
esac
"#;
/// The calls of a first enrolment: look, ask for the address and put on the guest; look, send, ask and
/// put on the host.
const CALLS: usize = 7;
/// Of a rotation: on guest and host look and put, and then the same again without the old key.
const ROTATION: usize = 8;

/// A guest, a host, and the place where breakglass runs.
struct Site {
    dir: TempDir,
    guest: Machine,
    host: Machine,
    to_guest: Nat,
    to_host: Nat,
}

/// What enroll said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    text: String,
}

impl Site {
    fn new() -> Site {
        Site::with_guest_user("breakglass")
    }

    fn with_guest_user(user: &str) -> Site {
        let dir = tempfile::tempdir().unwrap();
        keygen(&dir.path().join("operator"));
        let operator = fs::read_to_string(dir.path().join("operator.pub")).unwrap();
        // Somebody else's lines, as people write them.
        let lines = format!(
            "# who may come in\n\n{operator}from=\"192.0.2.1\",command=\"echo \\\"hi\\\"\"\tssh-ed25519 \
             AAAAC3NzaC1lZDI1NTE5AAAAIJCYsKyY8pOUOUNi+ge5ckeyQgOuTQ4N3oQMap9+UXZ1 ä breakglass\n"
        );
        let (guest, host) = (Machine::start(&operator), Machine::hypervisor(&lines));
        let site = Site {
            to_guest: Nat::new(guest.port, TO_GUEST),
            to_host: Nat::new(host.port, TO_HOST),
            dir,
            guest,
            host,
        };
        site.lay_out(user);
        site
    }

    fn lay_out(&self, user: &str) {
        let dir = self.dir.path().display().to_string();
        fs::create_dir(self.path("bin")).unwrap();
        self.write("bin/ssh", &SSH.replace("DIR", &dir), 0o755);
        let known =
            self.guest.known_hosts(self.guest.port) + &self.host.known_hosts(self.host.port);
        self.write("operator_known_hosts", &known, 0o600);
        let (guest, host) = (self.guest.port, self.host.port);
        self.write(
            "ssh_config",
            &format!(
                "Host guest\n  Port {guest}\nHost host\n  Port {host}\nHost *\n  HostName 127.0.0.1\n  \
                 User root\n  IdentityFile {dir}/operator\n  IdentitiesOnly yes\n  \
                 UserKnownHostsFile {dir}/operator_known_hosts\n  StrictHostKeyChecking yes\n"
            ),
            0o600,
        );
        self.write("token", TOKEN, 0o600);
        self.write("api_key", "sk-of-the-tests", 0o600);
        self.write("claude", "#!/bin/sh\necho '2.1.0 (Claude Code)'\n", 0o755);
        let (guest, host) = (self.to_guest.port, self.to_host.port);
        self.write(
            "config.toml",
            &format!(
                "listen = \"127.0.0.1:8080\"\ndata_dir = \"{dir}/data\"\n\
                 [auth]\ntoken_file = \"{dir}/token\"\n\
                 [ssh]\nkey_file = \"{dir}/keys/key\"\nhost_keys = \"pin\"\nknown_hosts = \"{dir}/pins\"\n\
                 [agent]\ncommand = \"{dir}/claude\"\napi_key_file = \"{dir}/api_key\"\n\
                 [[targets]]\nname = \"devvm\"\n\
                 guest = {{ host = \"127.0.0.1\", port = {guest}, user = \"{user}\" }}\n\
                 host = {{ host = \"127.0.0.1\", port = {host}, user = \"root\" }}\n"
            ),
            0o644,
        );
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Enrolls with what every run here says, and `args`.
    fn enroll(&self, args: &[&str]) -> Said {
        let _ = fs::remove_file(self.path("calls"));
        let path = format!(
            "{}:{}",
            self.path("bin").display(),
            std::env::var("PATH").unwrap()
        );
        let output = breakglass()
            .env("PATH", path)
            .args([
                "enroll",
                "--guest-login",
                "guest",
                "--host-login",
                "host",
                "--config",
            ])
            .arg(self.path("config.toml"))
            .arg("--ssh-config")
            .arg(self.path("ssh_config"))
            .args(args)
            .output()
            .unwrap();
        Said {
            code: output.status.code(),
            text: String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
        }
    }

    /// Enrolls for the first time: with a gate and a guest's number.
    fn first(&self, args: &[&str]) -> Said {
        let gate = gate_binary();
        let parts = ["--guest-id", "102", "--gate", gate.to_str().unwrap()];
        self.enroll(&[&parts, args].concat())
    }

    fn enrolled() -> Site {
        let site = Site::new();
        site.first(&["--run"]).is_done();
        site
    }

    fn calls(&self) -> usize {
        fs::read_to_string(self.path("calls"))
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    /// The operator's ssh fails so from now on; "" for not at all.
    fn fault(&self, fault: &str) {
        fs::write(self.path("fault"), fault).unwrap();
    }

    /// The public half of a key, without its comment.
    fn public(&self, name: &str) -> String {
        let output = Command::new("ssh-keygen")
            .arg("-y")
            .arg("-f")
            .arg(self.path(name))
            .output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.split(' ')
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
            .trim()
            .to_owned()
    }

    /// Logs in by stock ssh with a key of ours; its exit code.
    fn login(&self, key: &Path, port: u16, user: &str, command: &str) -> Option<i32> {
        let mut ssh = Command::new("/usr/bin/ssh");
        ssh.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
        ]);
        ssh.args([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ]);
        ssh.arg("-i").arg(key).args(["-p", &port.to_string()]);
        ssh.arg(format!("{user}@127.0.0.1")).arg(command);
        ssh.output().unwrap().status.code()
    }

    /// Whether the key in the file opens guest and gate, the way the server goes.
    fn works(&self, key: &Path) -> [bool; 2] {
        let guest = self.login(key, self.to_guest.port, "breakglass", "sudo -n true");
        let host = self.login(key, self.to_host.port, "root", "status");
        [guest == Some(0), host == Some(0)]
    }

    /// The changes of both machines and of the files here.
    fn state(&self) -> [String; 3] {
        let mut here = Vec::new();
        for name in ["keys/key", "keys/key.new", "keys/key.old.pub", "pins"] {
            if let Ok(meta) = fs::metadata(self.path(name)) {
                here.push(format!(
                    "{name} {} {:o} {}",
                    meta.ino(),
                    meta.mode(),
                    meta.mtime_nsec()
                ));
            }
        }
        [self.guest.changes(), self.host.changes(), here.join("\n")]
    }
}

impl Said {
    #[track_caller]
    fn is_done(&self) {
        assert_eq!(self.code, Some(0), "{}", self.text);
    }

    #[track_caller]
    fn ends(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "no {word:?} in {}", self.text);
        }
    }
}

#[test]
fn a_fresh_enrolment_ends_with_a_doctor_that_is_green_in_all() {
    let site = Site::new();
    let said = site.first(&["--run", "--json"]);
    said.is_done();
    let said: Value = serde_json::from_str(&said.text).unwrap();
    assert_eq!(said["state"], "green", "{said:#}");
    assert_eq!(site.calls(), CALLS);
    let mode = fs::metadata(site.path("keys/key")).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(site.works(&site.path("keys/key")), [true, true]);
    let policy = site.host.read("/etc/breakglass/gate.toml");
    assert_eq!(policy, "driver = \"qm\"\nguest = 102\n");
}

#[test]
fn each_machine_gets_the_address_that_it_sees_and_another_source_is_refused() {
    let site = Site::enrolled();
    let key = site.public("keys/key");
    let guest = format!("from=\"127.0.0.2\",restrict,pty {key} breakglass\n");
    assert_eq!(site.guest.read(GUEST_KEYS), guest);
    let host = format!(
        "command=\"/usr/local/sbin/breakglass-gate\",restrict,from=\"127.0.0.3\" {key} breakglass\n"
    );
    assert!(
        site.host.read(HOST_KEYS).ends_with(&host),
        "{}",
        site.host.read(HOST_KEYS)
    );
    // Past the routers, this machine is 127.0.0.1.
    let key = site.path("keys/key");
    let direct = |port, user| site.login(&key, port, user, "status");
    assert_eq!(direct(site.guest.port, "breakglass"), Some(255));
    assert_eq!(direct(site.host.port, "root"), Some(255));
}

#[test]
fn the_second_time_nothing_is_changed_and_no_file_is_touched() {
    let site = Site::enrolled();
    let before = site.state();
    let said = site.first(&["--run"]);
    said.ends(0, &["nothing to change"]);
    assert_eq!(site.state(), before);
}

#[test]
fn a_dry_run_tells_every_change_and_makes_none() {
    let site = Site::new();
    let before = site.state();
    let said = site.first(&["--dry-run"]);
    said.ends(
        0,
        &[
            "make an Ed25519 key in ",
            "devvm.guest       make the account breakglass",
            "devvm.guest       write /etc/sudoers.d/breakglass",
            "devvm.guest       add to authorized_keys: from=",
            "devvm.host        write /etc/breakglass/gate.toml",
            "devvm.host        install /usr/local/sbin/breakglass-gate with SHA-256 ",
            "devvm.host        add to authorized_keys: command=",
            "pin the host keys",
        ],
    );
    assert_eq!(site.state(), before);
    site.first(&["--run"]).is_done();
    let before = site.state();
    for (args, told) in [
        (
            ["--dry-run", "--rotate"],
            "put the new key into the place of ",
        ),
        (
            ["--dry-run", "--remove"],
            "remove /etc/sudoers.d/breakglass",
        ),
    ] {
        site.enroll(&args)
            .ends(0, &[told, "remove from authorized_keys: "]);
        assert_eq!(site.state(), before);
    }
}

#[test]
fn lines_of_others_stay_byte_by_byte_also_behind_a_link() {
    let site = Site::new();
    // As Proxmox has it.
    let moved = "mkdir -p /etc/pve/priv; mv /root/.ssh/authorized_keys /etc/pve/priv/; \
                 ln -s /etc/pve/priv/authorized_keys /root/.ssh/; chmod 640 /etc/pve/priv/authorized_keys";
    assert!(site.host.sh(moved).status.success());
    let before = site.host.read("/etc/pve/priv/authorized_keys");
    site.first(&["--run"]).is_done();
    let after = site.host.read("/etc/pve/priv/authorized_keys");
    let added = after.strip_prefix(&before).unwrap();
    assert_eq!(added.lines().count(), 1, "{added}");
    let meta = fs::symlink_metadata(site.host.path("/root/.ssh/authorized_keys")).unwrap();
    assert!(meta.file_type().is_symlink());
    let mode = fs::metadata(site.host.path("/etc/pve/priv/authorized_keys"))
        .unwrap()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    site.enroll(&["--remove", "--run"]).is_done();
    assert_eq!(site.host.read("/etc/pve/priv/authorized_keys"), before);
}

/// Breaks a first enrolment at each of `calls` in the same way, and goes on.
fn resumes_after(fault: &str, calls: impl IntoIterator<Item = usize>) {
    for call in calls {
        let site = Site::new();
        site.fault(&format!("{fault} {call}"));
        let broken = site.first(&["--run"]);
        assert_ne!(broken.code, Some(0), "{fault} {call}: {}", broken.text);
        site.fault("");
        let said = site.first(&["--run"]);
        assert_eq!(
            said.code,
            Some(0),
            "{fault} {call}: {} then {}",
            broken.text,
            said.text
        );
        assert_eq!(site.works(&site.path("keys/key")), [true, true]);
        assert_eq!(site.guest.read(GUEST_KEYS).lines().count(), 1);
        assert_eq!(
            site.host.read(HOST_KEYS).matches("breakglass-gate").count(),
            1
        );
    }
}

#[test]
fn an_enrolment_that_is_killed_after_any_step_goes_on() {
    resumes_after("after", 1..=CALLS);
}

#[test]
fn an_enrolment_of_which_half_a_script_or_gate_arrives_goes_on() {
    resumes_after("half", [2, 5, 7]);
}

#[test]
fn an_enrolment_whose_script_is_killed_in_the_middle_goes_on() {
    resumes_after("middle", [2, 3, 6, 7]);
}

#[test]
fn a_rotation_puts_a_proven_key_in_the_place_of_the_old_one_which_is_refused_then() {
    let site = Site::enrolled();
    let old = site.path("old");
    fs::copy(site.path("keys/key"), &old).unwrap();
    site.enroll(&["--rotate", "--run"])
        .ends(0, &["prove the new key", "restart it"]);
    assert_eq!(site.calls(), ROTATION);
    assert_ne!(site.public("keys/key"), site.public("old"));
    assert_eq!(site.works(&site.path("keys/key")), [true, true]);
    assert_eq!(site.works(&old), [false, false]);
    let left: Vec<_> = fs::read_dir(site.path("keys"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["key"]);
    // The addresses that were found before were kept.
    assert!(
        site.guest
            .read(GUEST_KEYS)
            .starts_with("from=\"127.0.0.2\",")
    );
}

/// Breaks a rotation at each of `calls` in the same way, and goes on.
fn rotates_after(fault: &str, calls: impl IntoIterator<Item = usize>) {
    let site = Site::enrolled();
    for call in calls {
        let before = site.public("keys/key");
        site.fault(&format!("{fault} {call}"));
        let broken = site.enroll(&["--rotate", "--run"]);
        assert_ne!(broken.code, Some(0), "{fault} {call}: {}", broken.text);
        let works = site.works(&site.path("keys/key"));
        assert_eq!(works, [true, true], "{fault} {call}: {}", broken.text);
        site.fault("");
        let said = site.enroll(&["--rotate", "--run"]);
        assert_eq!(said.code, Some(0), "{fault} {call}: {}", said.text);
        assert_ne!(site.public("keys/key"), before, "{fault} {call}");
        assert_eq!(
            site.guest.read(GUEST_KEYS).lines().count(),
            1,
            "{fault} {call}"
        );
    }
}

#[test]
fn a_rotation_that_is_killed_after_any_step_leaves_a_key_that_works_and_goes_on() {
    rotates_after("after", 1..=ROTATION);
}

#[test]
fn a_rotation_whose_script_is_killed_in_the_middle_leaves_a_key_that_works_and_goes_on() {
    rotates_after("middle", [2, 4, 6, 8]);
}

#[test]
fn a_new_key_that_is_not_proven_does_not_take_the_place_of_the_old_one() {
    let site = Site::enrolled();
    let before = site.public("keys/key");
    site.guest.write("/etc/sudoers.d/breakglass", "");
    site.enroll(&["--rotate", "--run"])
        .ends(1, &["is not proven", "devvm.guest.sudo"]);
    assert_eq!(site.public("keys/key"), before);
    assert_eq!(
        site.login(
            &site.path("keys/key"),
            site.to_guest.port,
            "breakglass",
            "true"
        ),
        Some(0)
    );
}

#[test]
fn what_is_removed_is_gone_and_what_is_left_is_told() {
    let site = Site::new();
    let before = site.host.read(HOST_KEYS);
    site.first(&["--run"]).is_done();
    let key = site.path("kept");
    fs::copy(site.path("keys/key"), &key).unwrap();
    let said = site.enroll(&["--remove", "--run"]);
    said.ends(
        0,
        &[
            "left: the account breakglass",
            "left: what the gate recorded",
            "delete the private key",
        ],
    );
    assert_eq!(site.works(&key), [false, false]);
    assert_eq!(site.host.read(HOST_KEYS), before);
    for gone in ["/etc/breakglass", "/usr/local/sbin/breakglass-gate"] {
        assert!(!site.host.path(gone).exists(), "{gone}");
    }
    assert!(!site.guest.path("/etc/sudoers.d/breakglass").exists());
    assert!(!site.path("keys/key").exists());
}

#[test]
fn a_removal_that_breaks_off_anywhere_keeps_the_private_key_and_goes_on() {
    for call in 1..=4 {
        let site = Site::enrolled();
        site.fault(&format!("after {call}"));
        site.enroll(&["--remove", "--run"]);
        assert!(site.path("keys/key").exists(), "{call}");
        site.fault("");
        site.enroll(&["--remove", "--run"]).is_done();
        assert!(
            !site.guest.path("/etc/sudoers.d/breakglass").exists(),
            "{call}"
        );
        assert!(
            !site.host.path("/usr/local/sbin/breakglass-gate").exists(),
            "{call}"
        );
        assert!(!site.path("keys/key").exists(), "{call}");
    }
}

#[test]
fn gate_and_policy_stay_while_another_key_leads_to_the_gate() {
    let site = Site::enrolled();
    let another =
        "command=\"/usr/local/sbin/breakglass-gate\",restrict ssh-ed25519 AAAAanother x\n";
    let lines = site.host.read(HOST_KEYS) + another;
    site.host.write(HOST_KEYS, &lines);
    site.enroll(&["--remove", "--run"])
        .ends(0, &["left: the gate and its policy"]);
    assert!(site.host.path("/usr/local/sbin/breakglass-gate").exists());
    assert!(site.host.path("/etc/breakglass/gate.toml").exists());
    assert!(site.host.read(HOST_KEYS).ends_with(another));
}

#[test]
fn a_rule_that_visudo_refuses_does_not_count() {
    // To sudoers this name is a keyword.
    let site = Site::with_guest_user("Defaults");
    let made = site.guest.sh("echo 'Defaults:x:4711:4711::/home/d:/bin/sh' >>/etc/passwd; echo 'Defaults:*:1::::::' >>/etc/shadow; install -d -o 4711 /home/d");
    assert!(made.status.success());
    site.first(&["--run"])
        .ends(1, &["visudo refuses the rule for Defaults"]);
    let left = site.guest.sh("ls /etc/sudoers.d");
    assert_eq!(String::from_utf8_lossy(&left.stdout), "README\n");
    assert!(site.guest.sh("visudo -c").status.success());
}

#[test]
fn a_gate_that_does_not_run_there_or_is_no_program_is_not_installed() {
    let site = Site::new();
    site.write("notes", "not a program", 0o644);
    let notes = site.path("notes").display().to_string();
    site.enroll(&["--run", "--guest-id", "102", "--gate", &notes])
        .ends(2, &["is no program"]);
    site.write("foreign", "\x7fELF of another machine", 0o755);
    let foreign = site.path("foreign").display().to_string();
    site.enroll(&["--run", "--guest-id", "102", "--gate", &foreign])
        .ends(1, &["does not run here"]);
    assert!(!site.host.path("/usr/local/sbin/breakglass-gate").exists());
    assert!(!site.host.read(HOST_KEYS).contains("breakglass-gate"));
    site.first(&["--run"]).is_done();
}

#[test]
fn a_policy_for_another_guest_is_refused_and_stays() {
    let site = Site::new();
    let policy = "driver = \"qm\"\nguest = 103 # the other one\n";
    assert!(site.host.sh("mkdir /etc/breakglass").status.success());
    site.host.write("/etc/breakglass/gate.toml", policy);
    site.first(&["--run"])
        .ends(3, &["its policy names guest 103, not 102"]);
    assert_eq!(site.host.read("/etc/breakglass/gate.toml"), policy);
    assert!(!site.host.read(HOST_KEYS).contains("breakglass-gate"));
}

#[test]
fn a_changed_address_is_found_anew_and_the_one_before_stays() {
    let site = Site::enrolled();
    site.to_host.renumber(Ipv4Addr::new(127, 0, 0, 9));
    site.enroll(&["--run"])
        .ends(0, &["from=\"127.0.0.3,127.0.0.9\""]);
    assert_eq!(site.works(&site.path("keys/key")), [true, true]);
}

#[test]
fn a_laptop_is_let_in_where_it_is_named_and_stays_so() {
    let site = Site::enrolled();
    site.enroll(&["--run", "--from", "here", "--from", "127.0.0.1"])
        .is_done();
    assert!(
        site.guest
            .read(GUEST_KEYS)
            .contains("from=\"127.0.0.1,127.0.0.2\""),
        "{}",
        site.guest.read(GUEST_KEYS)
    );
    assert_eq!(
        site.login(&site.path("keys/key"), site.host.port, "root", "status"),
        Some(0)
    );
    for again in [
        ["--run"].as_slice(),
        &["--run", "--from", "here", "--from", "127.0.0.1"],
    ] {
        site.enroll(again).ends(0, &["nothing to change"]);
    }
}

#[test]
fn a_machine_that_shows_another_host_key_than_it_holds_is_not_logged_in_to() {
    let site = Site::new();
    let other = "ssh-keygen -q -t ed25519 -N '' -f /tmp/other-key-of-$$ && mv /tmp/other-key-of-$$.pub \
                 /etc/ssh/ssh_host_ed25519_key.pub && rm /tmp/other-key-of-$$";
    assert!(site.guest.sh(other).status.success());
    site.first(&["--run"])
        .ends(3, &["devvm.guest shows the host key", "stand in between"]);
}

#[test]
fn a_login_that_fails_says_which_and_what_to_do() {
    let site = Site::new();
    site.fault("before 1");
    site.first(&["--run"])
        .ends(4, &["devvm.guest", "`ssh guest`", "--guest-login"]);
    site.fault("");
    site.enroll(&["--run"]).ends(2, &["--guest-id 102"]);
}

#[test]
fn without_run_the_steps_are_printed_and_pasting_them_enrols() {
    let site = Site::new();
    let said = site.first(&["--json", "--from", "127.0.0.2", "--from", "127.0.0.3"]);
    said.is_done();
    let said: Value = serde_json::from_str(&said.text).unwrap();
    let gate = site.host.path("/usr/local/sbin/breakglass-gate.new");
    for step in said["steps"].as_array().unwrap() {
        let paste = step["paste"].as_str().unwrap();
        let ran = match step["on"].as_str().unwrap() {
            "devvm.guest" => site.guest.sh(paste),
            "devvm.host" => site.host.sh(paste),
            _ if paste.starts_with("scp ") => {
                fs::copy(gate_binary(), &gate).unwrap();
                continue;
            }
            _ => continue,
        };
        assert!(ran.status.success(), "{ran:?}");
    }
    assert_eq!(site.works(&site.path("keys/key")), [true, true]);
    // What was pasted is what a run would have made.
    let before = [site.guest.changes(), site.host.changes()];
    let said = site.first(&["--run", "--from", "127.0.0.2", "--from", "127.0.0.3"]);
    said.is_done();
    assert_eq!(
        [site.guest.changes(), site.host.changes()],
        before,
        "{}",
        said.text
    );
}
