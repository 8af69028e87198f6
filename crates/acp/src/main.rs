//! `breakglass acp` as a program of its own: what the tests of this crate start.

use std::io::Write as _;
use std::process::ExitCode;

use breakglass_acp::{Arguments, run};
use clap::Parser;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> ExitCode {
    match run(&Program::parse().arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    }
}
