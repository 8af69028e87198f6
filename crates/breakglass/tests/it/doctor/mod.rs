//! `breakglass doctor` and a server's readiness on real parts: all is well, then each link broken in
//! turn, and mended as its remedy says.

mod deployment;
mod faults;
mod sandbox;
mod server;
mod settings;
