//! The agent's instructions: one file for each target, so that an agent never reads the names of another
//! incident's machines.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use crate::account::act_as;
use crate::safe_dir::SafeDir;
use crate::{AgentKind, AgentOptions, TargetNames, sandbox};

/// The built-in instructions; `{guest}` and `{host}` stand for the target's names.
const INSTRUCTIONS: &str = include_str!("../../../../agents/breakglass.md");
/// Appended if there is a library; `{library}` stands for its path.
const LIBRARY_SECTION: &str = include_str!("../../../../agents/library.md");

/// The instructions for one target, with its names.
///
/// # Errors
/// The file system's error for a configured instructions file.
pub(crate) fn instructions(options: &AgentOptions, names: &TargetNames) -> io::Result<String> {
    let text = match &options.agent_file {
        Some(path) => fs::read_to_string(path)?,
        None => INSTRUCTIONS.to_owned(),
    };
    let name = format!("name: {}\n", agent_name(names));
    Ok(text
        .replacen("name: breakglass\n", &name, 1)
        .replace("{guest}", &names.guest)
        .replace("{host}", &names.host))
}

/// Writes the instructions for one target into the cell, with the section about the library. That section is
/// added on the machine that starts the CLI, because a runner has its own library.
///
/// # Errors
/// The file system's error.
pub(super) fn write(options: &AgentOptions, names: &TargetNames, text: &str) -> io::Result<()> {
    let text = format!("{text}{}", library_section(options));
    let access = options.access();
    act_as(access.rights, || {
        let home = SafeDir::open(&options.home, access.owner)?;
        let directory = home.open_or_create_dir(Path::new(directory(options)))?;
        directory.write(&file_name(names), text.as_bytes(), Mode::RUSR | Mode::WUSR)
    })
}

/// The file that [`write`] wrote.
pub(super) fn file(options: &AgentOptions, names: &TargetNames) -> PathBuf {
    options.home.join(directory(options)).join(file_name(names))
}

/// Directory of the instructions, below the home.
pub(super) fn directory(options: &AgentOptions) -> &'static str {
    match options.kind {
        AgentKind::Claude => ".claude/agents",
        AgentKind::Acp(_) => ".breakglass/agents",
    }
}

/// The CLI's name for the agent of this target.
pub(super) fn agent_name(names: &TargetNames) -> String {
    format!("breakglass-{}", names.guest)
}

fn file_name(names: &TargetNames) -> String {
    format!("{}.md", agent_name(names))
}

fn library_section(options: &AgentOptions) -> String {
    let Some(library) = options.library.as_deref() else {
        return String::new();
    };
    let path = if options.sandbox.is_some() {
        Path::new(sandbox::LIBRARY)
    } else {
        library
    };
    LIBRARY_SECTION.replace("{library}", &path.to_string_lossy())
}
