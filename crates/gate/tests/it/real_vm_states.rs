//! A real QEMU that is not `running`: asleep, without space for its disk, killed, hung, frozen by a
//! backup.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use breakglass_rig::lab::{Answer, Hypervisor, LabHost, Machine, Proxmox, until};
use serde_json::Value;

fn succeeded(answer: &Answer) {
    let end = (answer.code, answer.verdict());
    let words = format!("{}\n{}", answer.text(), answer.err);
    assert_eq!(end, (0, "running".to_owned()), "{words}");
}

fn run_state(host: &LabHost<impl Hypervisor>) -> String {
    let answer = host.send("status --json");
    let text = answer.text();
    let last: Value = serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap();
    last["run_state"].as_str().unwrap_or_default().to_owned()
}

fn sleeps_and_is_woken(host: &LabHost<impl Hypervisor>) {
    let before = host.guest.qemu();
    let sleep = "(sleep 0.3; echo mem >/sys/power/state) </dev/null >/dev/null 2>&1 &";
    host.guest.login().run(sleep).unwrap();
    until("the guest sleeps", || run_state(host) == "suspended");
    let status = host.send("status");
    assert!(
        status.text().contains("start wakes it"),
        "{}",
        status.text()
    );
    assert_eq!(
        status.verdict(),
        "unknown (QEMU is up, the guest is suspended)"
    );
    succeeded(&host.send("start"));
    host.guest.login().wait();
    assert_eq!(host.guest.qemu(), before);
}

#[test]
fn real_vm_start_wakes_a_sleeping_guest_under_libvirt() {
    sleeps_and_is_woken(&LabHost::running());
}

#[test]
fn real_vm_start_wakes_a_sleeping_guest_under_qm() {
    sleeps_and_is_woken(&LabHost::over(Proxmox::running()));
}

/// A small file system for the guest's disk. Dropping it unmounts it.
struct Small(PathBuf);

impl Small {
    fn mount(host: &Proxmox) -> Small {
        let (dir, disk) = (host.dir().join("small"), host.dir().join("disk.img"));
        fs::create_dir(&dir).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=100m", "small"])
            .arg(&dir)
            .status();
        assert!(mount.unwrap().success());
        let moved = Command::new("cp")
            .arg("--sparse=always")
            .args([&disk, &dir.join("disk.img")])
            .status();
        assert!(moved.unwrap().success());
        fs::remove_file(&disk).unwrap();
        std::os::unix::fs::symlink(dir.join("disk.img"), disk).unwrap();
        Small(dir)
    }

    /// Uses up all space, or frees it.
    fn fill(&self, is_full: bool) {
        let filler = self.0.join("filler");
        if is_full {
            let mut file = fs::File::create(filler).unwrap();
            while file.write_all(&[7; 4096]).is_ok() {}
        } else {
            fs::remove_file(filler).unwrap();
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn real_vm_start_resumes_a_guest_whose_full_storage_has_room_again() {
    let guest = Proxmox::stopped();
    let small = Small::mount(&guest);
    assert!(guest.qm(&["start", "102"]).status.success());
    guest.login().wait();
    let host = LabHost::over(guest);
    let before = host.guest.qemu();
    small.fill(true);
    let write =
        "(dd if=/dev/zero of=/mnt/data/big bs=1M count=150; sync) </dev/null >/dev/null 2>&1 &";
    // The guest may stop before the command has returned.
    let _ = host.guest.login().try_run(write);
    until("QEMU stops the guest", || run_state(&host) == "io-error");
    let status = host.send("status");
    let text = status.text();
    assert!(text.contains("free space on the host"), "{text}");
    assert_eq!(
        status.verdict(),
        "unknown (QEMU is up, the guest is io-error)"
    );
    small.fill(false);
    succeeded(&host.send("start"));
    assert_eq!(host.guest.qemu(), before);
    // Before its disk is unmounted.
    drop(host);
}

fn dies_after_its_start(host: &LabHost<impl Hypervisor>) {
    let started = host.client("start").spawn().unwrap();
    until("it settles", || host.run_file().contains("|settle: "));
    host.guest.kill_qemu();
    let output = started.wait_with_output().unwrap();
    let (out, err) = (output.stdout, output.stderr);
    let text = String::from_utf8_lossy(&out) + String::from_utf8_lossy(&err);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("verdict: stopped"), "{text}");
    assert!(text.contains("ended by itself"), "{text}");
}

#[test]
fn real_vm_qemu_killed_seconds_after_its_start_is_not_running_under_libvirt() {
    let host = LabHost::running();
    assert_eq!(host.send("stop").verdict(), "stopped");
    dies_after_its_start(&host);
    succeeded(&host.send("start"));
}

#[test]
fn real_vm_qemu_killed_seconds_after_its_start_is_not_running_under_qm() {
    dies_after_its_start(&LabHost::over(Proxmox::stopped()));
}

/// A hung QEMU is reported within seconds. Prints the measured times.
fn hang_is_reported(host: &LabHost<impl Hypervisor>) {
    host.guest.stop_qemu();
    for verb in ["vitals", "status"] {
        let began = Instant::now();
        let answer = host.send(verb);
        let took = began.elapsed();
        println!("{verb} beside a hung QEMU: {took:?}");
        assert_eq!(answer.verdict(), "monitor-dead", "{}", answer.text());
        // It takes two to four seconds; the rest allows for an overloaded machine.
        assert!(took < Duration::from_secs(10), "{verb}: {took:?}");
    }
}

#[test]
fn real_vm_hung_qemu_is_reported_within_seconds_under_libvirt() {
    hang_is_reported(&LabHost::running());
}

#[test]
fn real_vm_hung_qemu_is_reported_within_seconds_under_qm() {
    hang_is_reported(&LabHost::over(Proxmox::running()));
}

/// Gives the guest agent one command, as a backup does.
fn agent(host: &LabHost<Proxmox>, command: &str) -> Value {
    let socket = host.guest.run_dir().join("102.qga");
    let stream = UnixStream::connect(socket).unwrap();
    let timeout = Some(Duration::from_secs(60));
    stream.set_read_timeout(timeout).unwrap();
    writeln!(&stream, r#"{{"execute": "{command}"}}"#).unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

#[test]
fn real_vm_guest_that_a_backup_froze_is_reported_as_frozen() {
    let host = LabHost::over(Proxmox::running());
    let frozen = || {
        let answer = host.send("vitals");
        let vitals: Value = serde_json::from_str(answer.text().lines().next().unwrap()).unwrap();
        vitals["frozen"].clone()
    };
    assert!(frozen().is_null(), "the agent is asked without a lock");
    host.guest.set("lock", "backup");
    until("the agent answers", || frozen() == false);
    let done = agent(&host, "guest-fsfreeze-freeze");
    assert!(done["return"].as_u64() > Some(0), "{done}");
    until("the guest is reported as frozen", || frozen() == true);
    agent(&host, "guest-fsfreeze-thaw");
    until("the guest is reported as thawed", || frozen() == false);
}
