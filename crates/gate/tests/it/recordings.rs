//! The stand-in for `qm` behaves like the recorded `qm` of Proxmox.

use std::process::Output;

use crate::support::Host;
use breakglass_rig::lab::{Machine, Proxmox};

/// A stand-in for `qm`, with any kind of QEMU.
trait StandIn {
    fn qm(&self, args: &[&str]) -> Output;
    fn set(&self, name: &str, text: &str);
    fn unset(&self, name: &str);
    /// Causes the panic with which the section "panic" was recorded.
    fn panic(&self);
}

#[derive(Debug, Default, PartialEq)]
struct Exchange {
    command: String,
    stdout: String,
    stderr: String,
    code: i32,
}

enum Step {
    Section(String),
    Exchange(Exchange),
}

#[test]
fn stand_in_answers_every_recorded_exchange_like_qm() {
    answers_as_recorded(&Host::running());
}

#[test]
fn real_vm_stand_in_over_a_real_qemu_answers_every_recorded_exchange_like_qm() {
    answers_as_recorded(&Proxmox::running());
}

impl StandIn for Host {
    fn qm(&self, args: &[&str]) -> Output {
        Host::qm(self, args)
    }

    fn set(&self, name: &str, text: &str) {
        Host::set(self, name, text);
    }

    fn unset(&self, name: &str) {
        Host::unset(self, name);
    }

    fn panic(&self) {}
}

impl StandIn for Proxmox {
    fn qm(&self, args: &[&str]) -> Output {
        Proxmox::qm(self, args)
    }

    fn set(&self, name: &str, text: &str) {
        Proxmox::set(self, name, text);
    }

    fn unset(&self, name: &str) {
        Proxmox::unset(self, name);
    }

    fn panic(&self) {
        // The recording's reset of a healthy guest comes right before.
        self.login().wait();
        Machine::panic(self);
    }
}

fn answers_as_recorded(host: &impl StandIn) {
    let mut compared = 0;
    for step in steps(include_str!("../recordings/qm.txt")) {
        match step {
            Step::Section(name) => prepare(host, &name),
            Step::Exchange(recorded) => {
                note_printed(host, &recorded);
                assert_eq!(replay(host, &recorded.command), recorded);
                compared += 1;
            }
        }
    }
    assert!(compared >= 30, "only {compared} exchanges were found");
}

/// Puts the stand-in into the state in which a section was recorded.
fn prepare(host: &impl StandIn, section: &str) {
    match section {
        "locked (backup)" => host.set("lock", "backup"),
        "lock: migrate" => host.set("lock", "migrate"),
        "panic" => {
            host.unset("lock");
            host.panic();
        }
        "missing VM" | "stopped" | "running" | "paused" => host.unset("lock"),
        other => panic!("the recording has a section {other:?} that this test does not know"),
    }
}

/// Stores the recorded output that `qm` only prints, so that the stand-in prints it.
fn note_printed(host: &impl StandIn, recorded: &Exchange) {
    match recorded.command.as_str() {
        "config 102" => host.set("config", &recorded.stdout),
        "status 102 --verbose" => host.set("verbose", &recorded.stdout),
        _ => {}
    }
}

fn replay(host: &impl StandIn, command: &str) -> Exchange {
    let args: Vec<&str> = command.split(' ').collect();
    let output = host.qm(&args);
    Exchange {
        command: command.to_owned(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

fn steps(recording: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut open = Exchange::default();
    for line in recording.lines() {
        if let Some(name) = line
            .strip_prefix("##### ")
            .or_else(|| line.strip_prefix("-- "))
        {
            steps.push(Step::Section(name.to_owned()));
        } else if let Some(command) = line.strip_prefix("$ qm ") {
            open = Exchange {
                command: command.to_owned(),
                ..Exchange::default()
            };
        } else if let Some(text) = line.strip_prefix("out| ") {
            open.stdout.push_str(&format!("{text}\n"));
        } else if let Some(text) = line.strip_prefix("err| ") {
            open.stderr.push_str(&format!("{text}\n"));
        } else if let Some(end) = line.strip_prefix("[rc=") {
            open.code = end.split([',', ']']).next().unwrap().parse().unwrap();
            steps.push(Step::Exchange(std::mem::take(&mut open)));
        }
    }
    steps
}
