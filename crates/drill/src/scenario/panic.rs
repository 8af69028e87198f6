//! The guest's kernel has panicked: its screen shows the panic, SSH does not answer. Any boot helps.

use crate::machine::{Fault, Moment, State};

const PANICKED_BEFORE: i64 = 410;

/// The lines on the guest's screen.
pub(crate) const SCREEN: [&str; 7] = [
    "BUG: kernel NULL pointer dereference, address: 0000000000000038",
    "CPU: 0 PID: 702 Comm: app Not tainted 6.1.0-28-cloud-amd64 #1  Debian 6.1.119-1",
    "RIP: 0010:ext4_mb_load_buddy_gfp+0x42/0x450 [ext4]",
    "Call Trace: ext4_free_blocks+0x2e3/0xb10 [ext4] ext4_ext_remove_space+0x9c1/0x1540 [ext4]",
    "Kernel panic - not syncing: Fatal exception",
    "Kernel Offset: 0x1c000000 from 0xffffffff81000000",
    "---[ end Kernel panic - not syncing: Fatal exception ]---",
];

pub(super) fn break_machine(state: &mut State) {
    let fault = Fault::Panic(Moment::before(PANICKED_BEFORE));
    state.power.set_fault(fault);
}
