//! Help with exit codes, shell completions and man pages, generated from the command line's definition.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::builder::StyledStr;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, Exit, Failure};

/// The exit codes of every command. They are part of the interface.
const EXIT_CODES: &str = "  0  success
  1  the operation failed, a check is red, or the log is broken
  2  wrong arguments or configuration; nothing was started
  3  refused by the gate, by the identity check, or because another verb is running
  4  the server, the host or the guest could not be reached";

/// The heading of a command's examples.
const EXAMPLES: &str = "Examples:\n";

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write one page per command into this directory, which is created if missing.
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

/// The command line without hidden commands, which the generators would include.
fn visible(command: &Command) -> Command {
    let text = |text: Option<&StyledStr>| text.cloned().unwrap_or_default();
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    Command::new("breakglass")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .subcommand_required(true)
        .about(text(command.get_about()))
        .long_about(text(command.get_long_about()))
        .after_help(text(command.get_after_help()))
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
        // A closed pipe is no error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritable(error)),
        _ => Ok(Exit::Done),
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "fits where errors are mapped"
)]
fn unwritable(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("can't write the output: {error}"))
}

/// Writes a page for the command and each of its subcommands: `breakglass-incidents-list.1`.
fn pages(command: &Command, dir: &Path) -> io::Result<()> {
    let file = dir.join(Man::new(command.clone()).get_filename());
    std::fs::write(file, page(command)?)?;
    let mut subcommands = command.get_subcommands();
    subcommands.try_for_each(|sub| pages(sub, dir))
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
            write!(page, ".SH \"{name}\"\n.nf\n{}.fi\n", escape_roff(text))?;
        }
    }
    Ok(page)
}

/// `text` escaped for roff, line by line.
fn escape_roff(text: &str) -> String {
    let line = |line: &str| {
        let line = line.trim_start_matches("  ");
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        // `\&` because a line that starts with a point or an apostrophe is a roff request.
        format!("\\&{line}\n")
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    /// Calls `visit` with every visible command and its path.
    fn walk(command: &Command, path: &str, visit: &mut dyn FnMut(&str, &Command)) {
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let path = format!("{path} {}", sub.get_name());
            visit(&path, sub);
            walk(sub, &path, visit);
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
    fn every_command_has_a_valid_example() {
        let mut missing = Vec::new();
        walk(&command(), "breakglass", &mut |path, sub| {
            let shown = examples(sub);
            if !shown.iter().any(|line| line.starts_with(path)) {
                missing.push(path.to_owned());
            }
            for example in shown {
                assert!(example.len() < 98, "it would be wrapped: {example}");
                // A comment follows after two spaces.
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
    fn every_command_has_a_summary_a_usage_paragraph_and_exit_codes() {
        walk(&command(), "breakglass", &mut |path, sub| {
            let about = sub
                .get_about()
                .map(StyledStr::to_string)
                .unwrap_or_default();
            assert!(!about.is_empty() && about.len() <= 110, "{path}: {about:?}");
            let long = sub.get_long_about().map(StyledStr::to_string);
            let has_usage = long.is_some_and(|long| long.contains("\n\n"));
            assert!(
                has_usage || sub.has_subcommands(),
                "{path} has no second paragraph"
            );
            for argument in sub.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{path}: {}",
                    argument.get_id()
                );
            }
            let after = sub.get_after_long_help().map(StyledStr::to_string);
            assert!(
                after.is_some_and(|after| after.contains("Exit codes:")),
                "{path}"
            );
        });
    }

    #[test]
    fn definition_passes_claps_assertions() {
        command().debug_assert();
    }

    #[test]
    fn hidden_commands_are_in_no_page() {
        let shown = visible(&command());
        assert!(shown.find_subcommand("drill-agent").is_none());
        assert!(shown.find_subcommand("drill").is_some());
    }
}
