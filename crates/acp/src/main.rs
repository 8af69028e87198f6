//! `breakglass acp` as a separate program, for the tests of this crate.

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
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "{reason}");
            ExitCode::FAILURE
        }
    }
}
