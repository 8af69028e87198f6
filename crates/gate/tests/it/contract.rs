//! The contract of the gate over the stand-in for Proxmox's `qm`.

use crate::promises::{self as contract, Answer, Subject};
use crate::support::Host;

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
