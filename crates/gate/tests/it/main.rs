//! The gate from outside: its table of verbs over a stand-in and over real machines, in one program.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "in a test, a panic is the report"
)]

#[macro_use]
#[path = "../../../../tests/rig/src/contract.rs"]
mod promises;

mod contract;
mod detached;
mod docs;
mod evidence;
mod faults;
mod ha;
mod locks;
mod on_the_way;
mod real_vm;
mod real_vm_contract;
mod real_vm_cut;
mod real_vm_states;
mod recordings;
mod refusals;
mod support;
mod verbs;
mod way_back;
