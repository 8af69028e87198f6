//! A running guest is ended only if it could be started again; else it keeps running, the verb exits
//! with 1, and the remedy is printed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::Host;
use breakglass_rig::pve;
use serde_json::Value;

/// Short timeouts for events that never happen.
const SHORT: &str =
    "ask_seconds = 2\nforensics_seconds = 2\nsettle_seconds = 2\nterminate_seconds = 5\n";

/// Breaks a host with a running guest and sends `cycle`, which must change nothing and print `words`.
/// Returns the host.
fn refused(breakage: impl FnOnce(&Host), words: &[&str]) -> Host {
    let host = Host::running();
    let before = host.pid();
    breakage(&host);
    let (code, out, err) = host.send("cycle");
    let story = format!("{out}{err}");
    assert_eq!(code, 1, "{story}");
    assert!(host.is_alive() && host.pid() == before, "{story}");
    assert_eq!(host.changes(), [""; 0], "{story}");
    assert!(err.contains("nothing was changed"), "{story}");
    for word in words {
        assert!(err.contains(word), "no {word:?} in: {story}");
    }
    assert!(!err.contains("NOW OFF"), "{story}");
    let last = out.lines().last().unwrap();
    assert_eq!(last, "verdict: running", "{story}");
    host
}

fn vitals(host: &Host) -> Value {
    let (_, out, err) = host.send("vitals");
    let vitals = serde_json::from_str(out.lines().next().unwrap_or_default());
    vitals.unwrap_or_else(|_| Value::String(format!("{out}{err}")))
}

fn fifo(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn guest_is_not_cycled_without_a_quorum() {
    let words = ["has no quorum", "pvecm expected 1"];
    let host = refused(
        |host| fs::write(host.pve(".members"), pve::members(false)).unwrap(),
        &words,
    );
    let vitals = self::vitals(&host);
    let why = vitals["no_way_back"].as_str().unwrap_or_default();
    assert!(why.contains(words[0]), "{vitals}");
    assert_eq!(vitals["elsewhere"], Value::Null);
}

#[test]
fn guest_is_not_cycled_without_pmxcfs() {
    let gone = |host: &Host| {
        fs::remove_dir_all(host.pve("")).unwrap();
        fs::create_dir(host.pve("")).unwrap();
    };
    let words = [".members does not exist", "systemctl restart pve-cluster"];
    let host = refused(gone, &words);
    assert_eq!(vitals(&host)["ha_managed"], Value::Null);
}

#[test]
fn guest_is_not_cycled_without_its_configuration() {
    let gone = |host: &Host| fs::remove_file(host.pve("qemu-server/102.conf")).unwrap();
    refused(gone, &["its configuration is missing", "restore that file"]);
}

#[test]
fn guest_is_not_cycled_if_its_configuration_is_on_another_node() {
    let moved = |host: &Host| {
        fs::remove_file(host.pve("qemu-server/102.conf")).unwrap();
        fs::write(host.pve(".vmlist"), pve::vmlist("pve2", "qemu")).unwrap();
    };
    let host = refused(moved, &["is on node pve2", "migrate the guest back"]);
    assert_eq!(vitals(&host)["elsewhere"], "pve2");
}

#[test]
fn renamed_node_does_not_cycle_the_guests_of_its_earlier_name() {
    let renamed = |host: &Host| {
        let members = pve::members(true).replace("\"nodename\": \"pve\"", "\"nodename\": \"new\"");
        fs::write(host.pve(".members"), members).unwrap();
    };
    refused(renamed, &["is on node pve, and this is new"]);
}

#[test]
fn guest_that_no_node_has_is_not_cycled() {
    let deleted = |host: &Host| {
        let list = pve::vmlist("pve", "qemu").replace("\"102\"", "\"103\"");
        fs::write(host.pve(".vmlist"), list).unwrap();
        fs::remove_file(host.pve("qemu-server/102.conf")).unwrap();
    };
    refused(
        deleted,
        &["no node of the cluster has a guest 102", "backup"],
    );
}

#[test]
fn malformed_cluster_files_prove_nothing() {
    type Row = (&'static str, &'static str, &'static str);
    let rows: [Row; 12] = [
        (".members", "", "does not answer"),
        (
            ".members",
            "{\"nodename\": \"pve\", \"clus",
            "does not answer",
        ),
        (".members", "[]", "does not answer"),
        (".members", "{\"version\": 4}", "does not name this node"),
        (
            ".members",
            "{\"nodename\": \"\"}",
            "does not name this node",
        ),
        (
            ".members",
            "{\"nodename\": \"pve\", \"cluster\": {}}",
            "whether there is a quorum",
        ),
        (
            ".members",
            "{\"nodename\": \"pve\", \"cluster\": {\"quorate\": 7}}",
            "a quorum",
        ),
        (
            ".vmlist",
            "{\"version\": 7, \"ids\": {\"102\"",
            "does not answer",
        ),
        (".vmlist", "{\"version\": 7}", "lists no guests"),
        (
            ".vmlist",
            "{\"ids\": {\"102\": {\"type\": \"qemu\"}}}",
            "does not say where",
        ),
        (
            ".vmlist",
            "{\"ids\": {\"102\": {\"node\": \"pve\", \"type\": \"lxc\"}}}",
            "of type lxc",
        ),
        (
            "qemu-server/102.conf",
            "\n#only a note: here\n[old]\nname: web01\n",
            "is empty",
        ),
    ];
    for (file, text, word) in rows {
        refused(|host| fs::write(host.pve(file), text).unwrap(), &[word]);
    }
}

#[test]
fn guest_is_not_cycled_with_an_empty_configuration() {
    let emptied = |host: &Host| fs::write(host.pve("qemu-server/102.conf"), "").unwrap();
    refused(emptied, &["is empty", "backup"]);
}

#[test]
fn configuration_that_is_a_directory_or_a_pipe_prevents_a_cycle_without_delay() {
    let directory = |host: &Host| {
        fs::remove_file(host.pve("qemu-server/102.conf")).unwrap();
        fs::create_dir(host.pve("qemu-server/102.conf")).unwrap();
    };
    refused(directory, &["a directory, not a file"]);
    let began = Instant::now();
    let host = refused(
        |host| {
            // The tool waits for a writer.
            host.write_policy(SHORT);
            fifo(&host.pve("qemu-server/102.conf"));
        },
        &["102.conf: a pipe, not a file"],
    );
    assert!(began.elapsed() < Duration::from_secs(60));
    fs::remove_file(host.pve("qemu-server/102.conf")).unwrap();
}

#[test]
fn template_is_not_cycled() {
    let template = "name: web01\ntemplate: 1\n";
    let made = |host: &Host| fs::write(host.pve("qemu-server/102.conf"), template).unwrap();
    refused(made, &["it is a template", "remove `template`"]);
}

#[test]
fn template_setting_in_a_snapshot_is_ignored() {
    let host = Host::running();
    let text = "name: web01\n\n[old]\ntemplate: 1\n";
    fs::write(host.pve("qemu-server/102.conf"), text).unwrap();
    assert_eq!(host.send("cycle").0, 0);
}

#[test]
fn guest_is_not_cycled_without_its_storage() {
    let storages = "dir: local\n\tpath /var/lib/vz\n\nnfs: nas\n\tserver 192.0.2.9\n\tdisable\n\n\
                    lvmthin: fast\n\tvgname pve\n\tnodes pve2,pve3\n";
    for (drive, words) in [
        ("scsi0: lab:vm-102-disk-0", "storage lab, which"),
        (
            "ide2: nas:iso/debian.iso,media=cdrom",
            "pvesm set nas --disable 0",
        ),
        ("virtio0: fast:vm-102-disk-0,size=8G", "is not for node pve"),
    ] {
        let named = |host: &Host| {
            fs::write(host.pve("storage.cfg"), storages).unwrap();
            let text = format!("name: web01\n{drive}\n");
            fs::write(host.pve("qemu-server/102.conf"), text).unwrap();
        };
        refused(named, &[words]);
    }
}

#[test]
fn storages_of_staged_drives_are_checked() {
    let staged = |host: &Host| {
        fs::write(host.pve("storage.cfg"), "dir: local\n\tpath /nonexistent\n").unwrap();
        let text = "name: web01\n\n[PENDING]\nscsi1: lab:vm-102-disk-1\n";
        fs::write(host.pve("qemu-server/102.conf"), text).unwrap();
    };
    refused(staged, &["storage lab, which"]);
}

#[test]
fn guest_is_not_cycled_without_its_iso() {
    let removed = |host: &Host| {
        let storage = format!("dir: local\n\tpath {}\n", host.path("").display());
        fs::write(host.pve("storage.cfg"), storage).unwrap();
        let text = "name: web01\nide2: local:iso/debian.iso,media=cdrom\n";
        fs::write(host.pve("qemu-server/102.conf"), text).unwrap();
    };
    refused(removed, &["template/iso/debian.iso, which does not exist"]);
}

#[test]
fn qemu_whose_program_was_removed_is_not_ended() {
    let host = Host::running();
    let (program, idle) = (host.path("kvm"), host.state().join("idle"));
    fs::copy("/bin/sh", &program).unwrap();
    let script = "read -r _ <\"$0\"";
    let words = ["-c", script, idle.to_str().unwrap(), "-id", "102"];
    let mut qemu = Command::new(&program).args(words).spawn().unwrap();
    let earlier = host.pid().unwrap();
    fs::write(host.state().join("run/102.pid"), qemu.id().to_string()).unwrap();
    fs::remove_file(&program).unwrap();
    let (code, out, err) = host.send("cycle");
    let lives = qemu.try_wait().unwrap().is_none();
    qemu.kill().unwrap();
    qemu.wait().unwrap();
    fs::write(host.state().join("run/102.pid"), earlier.to_string()).unwrap();
    assert!(code == 1 && lives, "{out}{err}");
    assert!(err.contains("kvm no longer exists"), "{err}");
}

#[test]
fn guest_is_not_cycled_on_a_full_or_read_only_host() {
    for (mount, words) in [
        ("-o ro", "mounted read-only"),
        ("-o size=4k", "is full, and a start writes there"),
    ] {
        let host = Host::running();
        let before = host.pid();
        let log = host.path("tasks-log");
        fs::create_dir(&log).unwrap();
        host.write_policy(&format!("tasks = \"{}/active\"\n", log.display()));
        // A mount namespace of its own, only for the gate.
        let script = format!(
            "mount -t tmpfs {mount} none {0} && {{ head -c 9999 /dev/zero >{0}/x; exec \"$@\"; }}",
            log.display()
        );
        let gate = host.gate("cycle");
        let mut inside = Command::new("unshare");
        inside
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                &script,
                "sh",
            ])
            .arg(gate.get_program())
            .args(gate.get_args())
            .env("SSH_ORIGINAL_COMMAND", "cycle");
        let output = inside.output().unwrap();
        let story = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{story}");
        assert!(story.contains(words), "{story}");
        assert!(host.is_alive() && host.pid() == before, "{story}");
        assert_eq!(host.changes(), [""; 0]);
    }
}

#[test]
fn checks_that_only_the_start_makes_are_announced_before_the_stop() {
    let host = Host::running();
    let config = "name: web01\nscsi0: local:102/vm-102-disk-0.raw,size=1G\n";
    fs::write(host.pve("qemu-server/102.conf"), config).unwrap();
    let (code, out, err) = host.send("cycle");
    assert_eq!(code, 0, "{out}{err}");
    let at = |words: &str| out.find(words).unwrap_or_else(|| panic!("{words}: {out}"));
    assert!(at("storage (local) is online shows only at the start") < at("stop: clean stop"));
}

#[test]
fn broken_qm_is_detected_before_anything_is_ended() {
    for (knob, text) in [
        ("exit-any", "255"),
        ("exit-any", "126"),
        ("exit-any", "0"),
        ("crash-any", ""),
        ("fail-any", "it is broken"),
    ] {
        let broken = |host: &Host| host.set(knob, text);
        refused(broken, &["qm does not work", "run that on the host"]);
    }
}

#[test]
fn qm_that_hangs_or_floods_is_detected_before_anything_is_ended() {
    for knob in ["hang-any", "flood-any"] {
        let broken = |host: &Host| {
            host.write_policy(&SHORT.replace("ask_seconds = 2", "ask_seconds = 1"));
            host.set(knob, "");
        };
        refused(broken, &["qm does not work", "run that on the host"]);
    }
}

#[test]
fn missing_or_forbidden_qm_is_detected_before_anything_is_ended() {
    let gone = |host: &Host| host.write_policy("qm = \"/nonexistent/qm\"\n");
    refused(gone, &["qm does not work", "can't be started"]);
    let forbidden = |host: &Host| {
        let copy = host.path("forbidden");
        fs::copy(host.path("qm"), &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
        host.write_policy(&format!("qm = \"{}\"\n", copy.display()));
    };
    refused(forbidden, &["qm does not work", "can't be started"]);
}

#[test]
fn slow_qm_gets_more_time_before_a_cycle_than_for_a_status() {
    let host = Host::running();
    let before = host.pid();
    host.write_policy("ask_seconds = 6\nforensics_seconds = 2\n");
    host.set("slow-pending", "9");
    let (code, out, err) = host.send("cycle");
    assert_eq!(code, 0, "{out}{err}");
    assert!(host.is_alive() && host.pid() != before, "{out}{err}");
}

#[test]
fn single_node_needs_no_quorum() {
    let host = Host::running();
    let before = host.pid();
    fs::write(
        host.pve(".members"),
        "{\"nodename\": \"pve\", \"version\": 2}\n",
    )
    .unwrap();
    let (code, out, err) = host.send("cycle");
    assert_eq!(code, 0, "{out}{err}");
    assert_ne!(host.pid(), before);
}

#[test]
fn healthy_guest_has_a_way_back_and_is_on_this_host() {
    let vitals = self::vitals(&Host::running());
    for (key, value) in [
        ("no_way_back", Value::Null),
        ("elsewhere", Value::Null),
        ("ha_managed", Value::Bool(false)),
    ] {
        assert_eq!(vitals[key], value, "{key}: {vitals}");
        assert!(vitals.get(key).is_some(), "{key}: {vitals}");
    }
}
