//! Removes wrappers: programs that run the rest of their words as a command. That command is judged.

use super::kind::is_number;
use super::words::{Word, shown};

/// The wrappers that are removed.
pub(super) const WRAPPERS: [&str; 3] = ["sudo", "timeout", "nice"];

/// Directories of known programs: a path there is equivalent to the bare name.
const PROGRAM_DIRECTORIES: [&str; 4] = ["/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"];

/// The program's bare name and its arguments, without wrappers.
pub(super) fn unwrap(command: &[Word]) -> Result<(&str, &[Word]), String> {
    let mut words = command;
    loop {
        let Some((first, rest)) = words.split_first() else {
            return Err("a wrapper such as `sudo` runs nothing".to_owned());
        };
        let program = bare(first)?;
        words = match program {
            "sudo" => after(rest, &["-n"], &[]),
            "timeout" => duration(after(rest, &["--foreground"], &["-k", "-s"]))?,
            "nice" => after(rest, &[], &["-n"]),
            _ => return Ok((program, rest)),
        };
    }
}

fn bare(word: &Word) -> Result<&str, String> {
    let text = word.text.as_str();
    if word.glob {
        return Err(format!("the program `{}` is a pattern", shown(text)));
    }
    if text.is_empty() {
        return Err("the name of a program is empty".to_owned());
    }
    if text.contains('=') {
        return Err(format!("`{}` sets a variable", shown(text)));
    }
    let place = PROGRAM_DIRECTORIES
        .iter()
        .find_map(|place| text.strip_prefix(place));
    let name = place.unwrap_or(text);
    if name.contains('/') {
        return Err(format!(
            "`{}` is not in a directory of known programs",
            shown(text)
        ));
    }
    Ok(name)
}

/// Skips a wrapper's options: those of `alone`, and those of `valued` with a word that is a number or a
/// signal's name. An unknown option remains, and is then not a known program.
fn after<'a>(mut words: &'a [Word], alone: &[&str], valued: &[&str]) -> &'a [Word] {
    loop {
        words = match words {
            [option, rest @ ..] if alone.contains(&option.text.as_str()) => rest,
            [option, value, rest @ ..]
                if valued.contains(&option.text.as_str()) && is_value(&value.text) =>
            {
                rest
            }
            _ => return words,
        };
    }
}

fn is_value(text: &str) -> bool {
    is_number(text) || (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase()))
}

fn duration(words: &[Word]) -> Result<&[Word], String> {
    match words {
        [first, rest @ ..] if is_number(&first.text) => Ok(rest),
        _ => Err("`timeout` is not followed by a duration".to_owned()),
    }
}
