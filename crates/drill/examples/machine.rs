//! A simulated machine for your own server: `cargo run -p breakglass-drill --example machine
//! PUBLIC_KEY_FILE`. Prints the addresses and host keys of `guest` and `host`, and runs until its
//! standard input is closed.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;

use breakglass_drill::{Scenario, Simulation};
use russh::keys::PublicKey;
use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args()
        .nth(1)
        .ok_or("usage: machine PUBLIC_KEY_FILE")?;
    let key = PublicKey::from_openssh(std::fs::read_to_string(file)?.trim())?;
    let runtime = tokio::runtime::Runtime::new()?;
    let start = Simulation::start(Scenario::DiskFull, key, CancellationToken::new());
    let simulation = runtime.block_on(start)?;
    let keys = simulation.host_keys();
    println!(
        "guest {} {}",
        simulation.guest_addr(),
        keys.guest.to_openssh()?
    );
    println!(
        "host {} {}",
        simulation.host_addr(),
        keys.host.to_openssh()?
    );
    // The runtime's threads serve until then.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
