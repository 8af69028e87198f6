//! The scripted agent alone: `cargo run -p breakglass-drill --example agent`, then type
//! `{"type":"user","message":{"role":"user","content":"Triage."}}`.

use std::process::ExitCode;

fn main() -> ExitCode {
    breakglass_drill::scripted_agent()
}
