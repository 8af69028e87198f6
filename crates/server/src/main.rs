//! The breakglass binary: see `breakglass --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    breakglass::cli::main()
}
