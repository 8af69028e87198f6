//! A real virtual machine for tests that are not written in Rust: starts it, prints its addresses
//! as one line of JSON, and ends it when standard input closes.
//!
//! Each line on standard input is a fault: `panic`, `freeze`, `thaw`, `pause`,
//! `stop-qemu`, `continue-qemu`, `kill-qemu`, `kill-agent`, or `login` (waits until a login
//! succeeds) or `boot-hangs` (waits until a boot hangs at a frozen disk). Each is answered by one line, `done`.

#![allow(
    clippy::print_stdout,
    clippy::panic,
    reason = "a program of the tests, whose output is its interface"
)]

use std::io::stdin;

use breakglass_rig::lab::{LabHost, Libvirt, Machine};

fn main() {
    let host = LabHost::running();
    println!("{}", host.addresses());
    for line in stdin().lines().map_while(Result::ok) {
        inflict(&line, &host);
        println!("done");
    }
}

fn inflict(fault: &str, host: &LabHost<Libvirt>) {
    let guest = &host.guest;
    match fault {
        "panic" => guest.panic(),
        "freeze" => guest.freeze_disk(),
        "thaw" => guest.thaw_disk(),
        "pause" => guest.pause(),
        "stop-qemu" => guest.stop_qemu(),
        "continue-qemu" => guest.continue_qemu(),
        "kill-qemu" => guest.kill_qemu(),
        "kill-agent" => guest.kill_agent(),
        "boot-hangs" => assert!(guest.boot_hangs(), "the guest boots over its frozen disk"),
        "login" => {
            guest.login().wait();
        }
        other => panic!("no such fault: {other}"),
    }
}
