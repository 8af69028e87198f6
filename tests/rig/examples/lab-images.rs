//! Builds the guest of the tests with a real virtual machine, unless it is there; prints where.

#![allow(clippy::print_stdout, reason = "a program of the tests")]

fn main() {
    println!("{}", breakglass_rig::lab::images().dir.display());
}
