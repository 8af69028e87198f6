//! QEMU no longer completes disk requests. The guest hangs without a word in its log; the monitor
//! answers as if nothing were wrong. The stall lives in the QEMU process: only a new one is free
//! of it.

use crate::machine::{Fault, Moment, State};

const STALLED_BEFORE: i64 = 540;

pub(super) fn break_machine(state: &mut State) {
    state
        .power
        .set_fault(Fault::IoStall(Moment::before(STALLED_BEFORE)));
}
