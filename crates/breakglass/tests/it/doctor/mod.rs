//! `breakglass doctor` and a server's readiness on real parts: everything works, then each part is broken in
//! turn and repaired as its remedy says.

mod deployment;
mod faults;
mod sandbox;
mod server;
mod settings;
