//! QEMU no longer completes disk requests. The guest hangs without a line in its log; the monitor
//! answers as usual. The stall is part of the QEMU process: only a new process is free of it.

use crate::machine::{Fault, Moment, State};

const STALLED_BEFORE: i64 = 540;

pub(super) fn break_machine(state: &mut State) {
    let fault = Fault::IoStall(Moment::before(STALLED_BEFORE));
    state.power.set_fault(fault);
}
