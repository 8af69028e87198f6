//! Builds the guest for the tests with a real virtual machine unless it exists; prints its directory.

#![allow(clippy::print_stdout, reason = "a program of the tests")]

fn main() {
    println!("{}", breakglass_rig::lab::images().dir.display());
}
