//! `breakglass enroll` against real machines in throw-away roots: real sshd, useradd, visudo, sudo and
//! the real gate, each machine behind a router that changes the address it sees.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;

use crate::common::site::{GUEST_KEYS, HOST_KEYS, Site};
use breakglass_rig::gate::gate_binary;
use serde_json::Value;

/// Number of ssh calls of a first enrolment: inspect, get the address and install on the guest; inspect, send, get
/// the address and install on the host.
const CALLS: usize = 7;
/// Number of ssh calls of a rotation: inspect and install on guest and host, then again without the old key.
const ROTATION: usize = 8;

#[test]
fn fresh_enrolment_finishes_with_green_checks() {
    let site = Site::new();
    let said = site.first(&["--run", "--json"]);
    said.is_done();
    let said: Value = serde_json::from_str(&said.text).unwrap();
    let not_green = said["checks"].as_array().unwrap().iter().filter(|check| {
        // No drill was run and no model was tested; enroll can't fix either.
        check["state"] != "green" && check["name"] != "drill" && check["name"] != "agent.model"
    });
    assert_eq!(not_green.collect::<Vec<_>>(), Vec::<&Value>::new());
    assert_eq!(site.calls(), CALLS);
    let mode = fs::metadata(site.path("keys/key")).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(site.works(&site.path("keys/key")), [true, true]);
    let policy = site.host.read("/etc/breakglass/gate.toml");
    assert_eq!(policy, "driver = \"qm\"\nguest = 102\n");
}

#[test]
fn each_machine_allows_the_address_it_sees_and_refuses_others() {
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
    // Without the routers, this machine is 127.0.0.1.
    let key = site.path("keys/key");
    let direct = |port, user| site.login(&key, port, user, "status");
    assert_eq!(direct(site.guest.port, "breakglass"), Some(255));
    assert_eq!(direct(site.host.port, "root"), Some(255));
}

#[test]
fn second_enrolment_changes_nothing_and_touches_no_file() {
    let site = Site::enrolled();
    let before = site.state();
    let said = site.first(&["--run"]);
    said.ends(0, &["nothing to change"]);
    assert_eq!(site.state(), before);
}

#[test]
fn dry_run_prints_every_change_and_makes_none() {
    let site = Site::new();
    let before = site.state();
    let said = site.first(&["--dry-run"]);
    said.ends(
        0,
        &[
            "create an Ed25519 key in ",
            "devvm.guest       create the account breakglass",
            "devvm.guest       write /etc/sudoers.d/breakglass",
            "devvm.guest       add to authorized_keys: from=",
            "devvm.host        write /etc/breakglass/gate.toml",
            "devvm.host        install /usr/local/sbin/breakglass-gate with SHA-256 ",
            "devvm.host        add to authorized_keys: command=",
            "pin its host keys",
        ],
    );
    assert_eq!(site.state(), before);
    site.first(&["--run"]).is_done();
    let before = site.state();
    for (args, printed) in [
        (["--dry-run", "--rotate"], "with the new key"),
        (
            ["--dry-run", "--remove"],
            "remove /etc/sudoers.d/breakglass",
        ),
    ] {
        site.enroll(&args)
            .ends(0, &[printed, "remove from authorized_keys: "]);
        assert_eq!(site.state(), before);
    }
}

#[test]
fn foreign_lines_are_preserved_even_behind_a_link() {
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

/// Interrupts a first enrolment at each of `calls` and continues it.
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
fn enrolment_killed_after_any_step_continues() {
    resumes_after("after", 1..=CALLS);
}

#[test]
fn enrolment_with_a_truncated_script_or_gate_continues() {
    resumes_after("half", [2, 5, 7]);
}

#[test]
fn enrolment_with_a_killed_script_continues() {
    resumes_after("middle", [2, 3, 6, 7]);
}

#[test]
fn rotation_installs_a_proven_key_and_revokes_the_old_one() {
    let site = Site::enrolled();
    let old = site.path("old");
    fs::copy(site.path("keys/key"), &old).unwrap();
    site.enroll(&["--rotate", "--run"])
        .ends(0, &["test the new key", "restart it"]);
    assert_eq!(site.calls(), ROTATION);
    assert_ne!(site.public("keys/key"), site.public("old"));
    assert_eq!(site.works(&site.path("keys/key")), [true, true]);
    assert_eq!(site.works(&old), [false, false]);
    let left: Vec<_> = fs::read_dir(site.path("keys"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["key"]);
    // The addresses found earlier are kept.
    assert!(
        site.guest
            .read(GUEST_KEYS)
            .starts_with("from=\"127.0.0.2\",")
    );
}

/// Interrupts a rotation at each of `calls` and continues it.
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
fn rotation_killed_after_any_step_keeps_a_working_key_and_continues() {
    rotates_after("after", 1..=ROTATION);
}

#[test]
fn rotation_with_a_killed_script_keeps_a_working_key_and_continues() {
    rotates_after("middle", [2, 4, 6, 8]);
}

#[test]
fn unproven_key_does_not_replace_the_old_one() {
    let site = Site::enrolled();
    let before = site.public("keys/key");
    site.guest.write("/etc/sudoers.d/breakglass", "");
    site.enroll(&["--rotate", "--run"])
        .ends(1, &["failed its test", "devvm.guest.sudo"]);
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
fn removal_deletes_its_files_and_reports_the_rest() {
    let site = Site::new();
    let before = site.host.read(HOST_KEYS);
    site.first(&["--run"]).is_done();
    let key = site.path("kept");
    fs::copy(site.path("keys/key"), &key).unwrap();
    let said = site.enroll(&["--remove", "--run"]);
    said.ends(
        0,
        &[
            "kept: the account breakglass",
            "kept: the gate's data and log",
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
fn interrupted_removal_keeps_the_private_key_and_continues() {
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
fn gate_and_policy_stay_while_another_key_uses_them() {
    let site = Site::enrolled();
    let another =
        "command=\"/usr/local/sbin/breakglass-gate\",restrict ssh-ed25519 AAAAanother x\n";
    let lines = site.host.read(HOST_KEYS) + another;
    site.host.write(HOST_KEYS, &lines);
    site.enroll(&["--remove", "--run"])
        .ends(0, &["kept: the gate and its policy"]);
    assert!(site.host.path("/usr/local/sbin/breakglass-gate").exists());
    assert!(site.host.path("/etc/breakglass/gate.toml").exists());
    assert!(site.host.read(HOST_KEYS).ends_with(another));
}

#[test]
fn sudoers_file_that_visudo_refuses_is_not_installed() {
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
fn gate_that_does_not_run_on_the_host_is_not_installed() {
    let site = Site::new();
    site.write("notes", "not a program", 0o644);
    let notes = site.path("notes").display().to_string();
    site.enroll(&["--run", "--guest-id", "102", "--gate", &notes])
        .ends(2, &["is not a program"]);
    site.write("foreign", "\x7fELF of another machine", 0o755);
    let foreign = site.path("foreign").display().to_string();
    site.enroll(&["--run", "--guest-id", "102", "--gate", &foreign])
        .ends(1, &["does not run here"]);
    assert!(!site.host.path("/usr/local/sbin/breakglass-gate").exists());
    assert!(!site.host.read(HOST_KEYS).contains("breakglass-gate"));
    site.first(&["--run"]).is_done();
}

#[test]
fn policy_for_another_guest_is_refused_and_kept() {
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
fn changed_address_is_added_and_the_old_one_kept() {
    let site = Site::enrolled();
    site.to_host.renumber(Ipv4Addr::new(127, 0, 0, 9));
    site.enroll(&["--run"])
        .ends(0, &["from=\"127.0.0.3,127.0.0.9\""]);
    assert_eq!(site.works(&site.path("keys/key")), [true, true]);
}

#[test]
fn named_laptop_is_allowed_and_stays_allowed() {
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
fn machine_with_an_unexpected_host_key_is_not_logged_in_to() {
    let site = Site::new();
    let other = "ssh-keygen -q -t ed25519 -N '' -f /tmp/other-key-of-$$ && mv /tmp/other-key-of-$$.pub \
                 /etc/ssh/ssh_host_ed25519_key.pub && rm /tmp/other-key-of-$$";
    assert!(site.guest.sh(other).status.success());
    site.first(&["--run"]).ends(
        3,
        &[
            "devvm.guest presents the host key",
            "intercepting the connection",
        ],
    );
}

#[test]
fn failed_login_names_the_machine_and_the_remedy() {
    let site = Site::new();
    site.fault("before 1");
    site.first(&["--run"])
        .ends(4, &["devvm.guest", "`ssh guest`", "--guest-login"]);
    site.fault("");
    site.enroll(&["--run"]).ends(2, &["--guest-id 102"]);
}

#[test]
fn pasting_the_printed_steps_enrols() {
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
    // Pasting has the same result as --run.
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

#[test]
fn operator_without_root_uses_sudo_and_is_warned_about_password_prompts() {
    let site = Site::new();
    let made = site.guest.sh(
        "useradd -m -p '*' -s /bin/bash ana && cp -r /root/.ssh /home/ana/ && chown -R ana: /home/ana",
    );
    assert!(made.status.success(), "{made:?}");
    let asks = site.first(&["--run", "--guest-login", "ana@guest"]);
    asks.ends(3, &["ana@guest cannot become root", "--guest-login"]);
    site.guest
        .write("/etc/sudoers.d/ana", "ana ALL=(ALL) NOPASSWD: ALL\n");
    site.first(&["--run", "--guest-login", "ana@guest"])
        .is_done();
}

#[test]
fn foreign_sudoers_file_is_kept_and_reported() {
    let site = Site::new();
    let theirs = "breakglass ALL=(ALL:ALL) NOPASSWD: ALL\n";
    site.guest.write("/etc/sudoers.d/breakglass", theirs);
    site.first(&["--run"])
        .ends(0, &["another content than enrolment writes"]);
    site.enroll(&["--remove", "--run"])
        .ends(0, &["kept: /etc/sudoers.d/breakglass"]);
    assert_eq!(site.guest.read("/etc/sudoers.d/breakglass"), theirs);
}
