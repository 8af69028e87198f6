//! The scripted agent: speaks the claude CLI's bidirectional stream-json on stdin and stdout, and
//! runs its commands for real.
//!
//! There is no model behind it: a few rules decide by the output of the commands. So a drill needs
//! neither a network nor a key, and everything on the page really happened.

mod case;
mod input;
mod output;
mod power;
mod repair;
mod report;
mod story;
mod talk;
mod tool;
mod wire;

use std::io::{Read, Write};
use std::process::ExitCode;

use report::Report;
use talk::Talk;
use wire::Wire;

/// Runs the scripted agent on the process's stdin and stdout until stdin closes.
///
/// Of the claude CLI's arguments, `--model`, `--session-id` and `--resume` have an effect, `--version`
/// prints a version and exits, and all others are ignored. The exit code is 0, or 1 if the last turn
/// was interrupted.
#[must_use]
pub fn scripted_agent() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|word| word == "--version") {
        let version = env!("CARGO_PKG_VERSION");
        let _ = writeln!(std::io::stdout(), "{version} (scripted drill agent)");
        return ExitCode::SUCCESS;
    }
    converse(&args, std::io::stdin(), std::io::stdout())
}

fn converse(
    args: &[String],
    stdin: impl Read + Send + 'static,
    stdout: impl Write + 'static,
) -> ExitCode {
    let value = |name: &str| args.iter().skip_while(|word| *word != name).nth(1).cloned();
    let session = value("--session-id").or_else(|| value("--resume"));
    let session = session.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let model = value("--model").unwrap_or_else(|| "scripted".to_owned());
    let wire = Wire::new(Box::new(stdout), session, model);
    let mut talk = Talk::new(wire, input::listen(stdin));
    let mut report = Report::default();
    let mut completed = true;
    while let Some(prompt) = talk.next_prompt() {
        completed = talk.turn(|talk| story::play(talk, &prompt, &mut report));
    }
    ExitCode::from(u8::from(!completed))
}
