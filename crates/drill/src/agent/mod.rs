//! The scripted agent: speaks the claude CLI's bidirectional stream-json on stdin and stdout, and
//! really runs its commands.
//!
//! It has no model behind it: a few rules look at what the commands print. So a drill needs no
//! network and no key, and what is on the page still really happened.

mod host;
mod input;
mod read;
mod repair;
mod story;
mod talk;
mod tool;
mod wire;

use std::io::{Read, Write};
use std::process::ExitCode;

use story::Record;
use talk::Talk;
use wire::Wire;

/// Runs the scripted agent on the process's stdin and stdout until stdin closes.
///
/// Takes the claude CLI's arguments from the command line: `--model`, `--session-id` and `--resume`
/// count, `--version` prints a version and ends, the rest is accepted. The exit code is 0, or 1
/// when the last turn was interrupted.
#[must_use]
pub fn scripted_agent() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|word| word == "--version") {
        let _ = writeln!(
            std::io::stdout(),
            "{} (scripted drill agent)",
            env!("CARGO_PKG_VERSION")
        );
        return ExitCode::SUCCESS;
    }
    converse(&args, std::io::stdin(), std::io::stdout())
}

fn converse(args: &[String], stdin: impl Read + Send + 'static, stdout: impl Write) -> ExitCode {
    let value = |name: &str| args.iter().skip_while(|word| *word != name).nth(1).cloned();
    let session = value("--session-id").or_else(|| value("--resume"));
    let session = session.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let model = value("--model").unwrap_or_else(|| "scripted".to_owned());
    let mut talk = Talk::new(Wire::new(stdout, session, model), input::listen(stdin));
    let mut record = Record::default();
    let mut well = true;
    while let Some(prompt) = talk.next_prompt() {
        well = talk.turn(|talk| story::play(talk, &prompt, &mut record));
    }
    ExitCode::from(u8::from(!well))
}
