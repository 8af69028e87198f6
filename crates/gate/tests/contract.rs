//! The contract of the gate over the stand-in for Proxmox's `qm`.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[macro_use]
#[path = "../../../tests/rig/src/contract.rs"]
mod contract;
mod support;

use contract::{Answer, Subject};
use support::Host;

impl Subject for Host {
    fn running() -> Host {
        Host::running()
    }

    fn stopped() -> Host {
        Host::stopped()
    }

    fn send(&self, line: &str) -> Answer {
        let output = self.gate(line).output().unwrap();
        Answer {
            code: output.status.code().unwrap(),
            out: output.stdout,
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn process(&self) -> Option<u64> {
        self.pid().map(u64::from)
    }
}

contract!(Host);
