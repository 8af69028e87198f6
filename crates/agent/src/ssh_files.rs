use std::fs;
use std::io;
use std::path::Path;

use crate::cell;

/// Writes `ssh_config` and `known_hosts` into `dir`, for everybody to read and nobody else to
/// change. In both, `{cell}` stands for where that directory is seen, and `{program}` for where this
/// program is.
///
/// # Errors
/// What the file system says.
pub fn write_ssh_files(
    dir: &Path,
    (cell, program): (&Path, &Path),
    config: &str,
    known_hosts: &str,
) -> io::Result<()> {
    let (cell, program) = (cell.display().to_string(), program.display().to_string());
    for (name, text) in [("ssh_config", config), ("known_hosts", known_hosts)] {
        let text = text.replace("{cell}", &cell).replace("{program}", &program);
        let path = dir.join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        cell::replace(&path, &text, 0o644)?;
    }
    Ok(())
}
