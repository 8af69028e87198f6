//! What the command line says of itself: help with exit codes, completions for shells, man pages.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::builder::StyledStr;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, Exit, Failure};

/// The numbers are part of the interface, for every command.
const EXIT_CODES: &str = "  0  done
  1  it ran and failed, a check is red, or the record does not hold
  2  wrong use or configuration; nothing was started
  3  refused by the gate, by the identity check, or because another verb runs
  4  server, host or guest was not reached";

/// How a command's examples begin.
const EXAMPLES: &str = "Examples:\n";

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell that is to complete.
    shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write one page for each command into this directory, which is made where it is missing.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The command line, with the exit codes below the help of every command.
pub(crate) fn command() -> Command {
    with_exit_codes(Cli::command())
}

fn with_exit_codes(command: Command) -> Command {
    let examples = command.get_after_help().map(StyledStr::to_string);
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    let command = names.iter().fold(command, |command, name| {
        command.mut_subcommand(name, with_exit_codes)
    });
    let examples = examples.map_or(String::new(), |text| format!("{text}\n\n"));
    command.after_long_help(format!("{examples}Exit codes:\n{EXIT_CODES}"))
}

/// The command line as people see it. The generators show what is hidden as well.
fn visible(command: &Command) -> Command {
    let words = |text: Option<&StyledStr>| text.cloned().unwrap_or_default();
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    Command::new("breakglass")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .subcommand_required(true)
        .about(words(command.get_about()))
        .long_about(words(command.get_long_about()))
        .after_help(words(command.get_after_help()))
        .args(command.get_arguments())
        .subcommands(shown.cloned())
}

pub(crate) fn completions(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    let mut shown = visible(&command());
    clap_complete::generate(args.shell, &mut shown, "breakglass", &mut script);
    print(&script)
}

pub(crate) fn man(args: &ManArgs) -> Result<Exit, Failure> {
    let mut shown = visible(&command()).disable_help_subcommand(true);
    shown.build();
    let Some(dir) = &args.dir else {
        return print(&page(&shown).map_err(unwritable)?);
    };
    std::fs::create_dir_all(dir)
        .and_then(|()| pages(&shown, dir))
        .map_err(unwritable)?;
    Ok(Exit::Done)
}

fn print(bytes: &[u8]) -> Result<Exit, Failure> {
    match io::stdout().write_all(bytes) {
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritable(error)),
        _ => Ok(Exit::Done),
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "fits where errors are mapped"
)]
fn unwritable(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("it can't be written: {error}"))
}

/// One page for the command and each below it: `breakglass-incidents-list.1`.
fn pages(command: &Command, dir: &Path) -> io::Result<()> {
    let file = dir.join(Man::new(command.clone()).get_filename());
    std::fs::write(file, page(command)?)?;
    let mut below = command.get_subcommands();
    below.try_for_each(|sub| pages(sub, dir))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone())
        .source(concat!("breakglass ", env!("CARGO_PKG_VERSION")))
        .manual("breakglass");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let examples = command.get_after_help().map(StyledStr::to_string);
    let examples = examples.unwrap_or_default();
    let examples = examples.strip_prefix(EXAMPLES).unwrap_or(&examples);
    for (name, text) in [("EXAMPLES", examples), ("EXIT STATUS", EXIT_CODES)] {
        if !text.is_empty() {
            write!(page, ".SH \"{name}\"\n.nf\n{}.fi\n", as_it_is(text))?;
        }
    }
    Ok(page)
}

/// `text` in roff, line by line.
fn as_it_is(text: &str) -> String {
    let line = |line: &str| {
        let line = line.trim_start_matches("  ");
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        // A point or an apostrophe at its beginning would make a request of the line.
        format!("\\&{line}\n")
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    /// Every command that people see, with the words that lead to it.
    fn walk(command: &Command, path: &str, see: &mut dyn FnMut(&str, &Command)) {
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let path = format!("{path} {}", sub.get_name());
            see(&path, sub);
            walk(sub, &path, see);
        }
    }

    fn examples(command: &Command) -> Vec<String> {
        let help = command.get_after_help().map(StyledStr::to_string);
        let help = help.unwrap_or_default();
        let lines = help.lines();
        let lines = lines.filter_map(|line| line.strip_prefix("  breakglass "));
        lines.map(|line| format!("breakglass {line}")).collect()
    }

    #[test]
    fn every_command_has_an_example_that_the_command_line_takes() {
        let mut missing = Vec::new();
        walk(&command(), "breakglass", &mut |path, sub| {
            let shown = examples(sub);
            if !shown.iter().any(|line| line.starts_with(path)) {
                missing.push(path.to_owned());
            }
            for example in shown {
                assert!(example.len() < 98, "it would be wrapped: {example}");
                // What it does stands behind it, after two spaces or more.
                let words = example.split("  ").next().unwrap_or_default();
                let words = words.split([';', '|', '>']).next().unwrap_or_default();
                if let Err(error) = Cli::try_parse_from(words.split_whitespace()) {
                    panic!("{example}: {error}");
                }
            }
        });
        assert!(missing.is_empty(), "no example in the help of: {missing:?}");
    }

    #[test]
    fn every_command_says_what_it_is_when_to_use_it_and_how_it_ends() {
        walk(&command(), "breakglass", &mut |path, sub| {
            let about = sub
                .get_about()
                .map(StyledStr::to_string)
                .unwrap_or_default();
            assert!(!about.is_empty() && about.len() <= 110, "{path}: {about:?}");
            let long = sub.get_long_about().map(StyledStr::to_string);
            let says_when = long.is_some_and(|long| long.contains("\n\n"));
            assert!(
                says_when || sub.has_subcommands(),
                "{path} has no second paragraph"
            );
            for argument in sub.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{path}: {}",
                    argument.get_id()
                );
            }
            let end = sub.get_after_long_help().map(StyledStr::to_string);
            assert!(end.is_some_and(|end| end.contains("Exit codes:")), "{path}");
        });
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn what_is_hidden_is_in_no_page() {
        let shown = visible(&command());
        assert!(shown.find_subcommand("drill-agent").is_none());
        assert!(shown.find_subcommand("drill").is_some());
    }
}
