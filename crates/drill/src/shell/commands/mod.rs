//! The commands that the guest has, one table.

mod accounts;
mod disk;
mod files;
mod find;
mod journalctl;
mod memory;
mod processes;
mod status;
mod systemctl;
mod text;

use std::time::Duration;

use super::Reply;
use crate::machine::{Clock, DiskError, Moment, State, resolve};

/// A command being run: what it was given, and the machine it runs on.
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    pub(super) args: &'a [String],
    pub(super) input: &'a str,
    pub(super) user: &'a str,
    pub(super) cwd: &'a str,
    pub(super) state: &'a mut State,
    pub(super) now: Moment,
    pub(super) clock: &'a Clock,
}

impl Call<'_> {
    /// Whether the one-letter option `letter` is there, alone or among others.
    fn has(&self, letter: char) -> bool {
        let among = |word: &String| {
            word.strip_prefix('-')
                .is_some_and(|w| !w.starts_with('-') && w.contains(letter))
        };
        self.args.iter().take_while(|word| *word != "--").any(among)
    }

    /// Whether the long option `name` is there, with or without a value.
    fn has_long(&self, name: &str) -> bool {
        self.args
            .iter()
            .any(|word| word == name || word.strip_prefix(name).is_some_and(|w| w.starts_with('=')))
    }

    /// The value of an option: `-n 5`, `-n5`, `--lines=5`, `--lines 5`.
    fn value(&self, names: &[&str]) -> Option<&str> {
        self.args.iter().enumerate().find_map(|(index, word)| {
            let name = names.iter().find(|name| word.starts_with(**name))?;
            match word[name.len()..].trim_start_matches('=') {
                "" => self.args.get(index + 1).map(String::as_str),
                value if !name.starts_with("--") || word[name.len()..].starts_with('=') => {
                    Some(value)
                }
                _ => None,
            }
        })
    }

    /// What is not an option; `valued` names the options whose next word is theirs.
    fn operands(&self, valued: &[&str]) -> Vec<String> {
        let mut operands = Vec::new();
        let mut words = self.args.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                operands.extend(words.cloned());
                break;
            }
            if valued.contains(&word.as_str()) {
                words.next();
            } else if !word.starts_with('-') || word == "-" {
                operands.push(word.clone());
            }
        }
        operands
    }

    fn path(&self, operand: &str) -> String {
        resolve(self.cwd, operand)
    }

    /// At most `limit` bytes of a file, those under /proc included.
    fn read(&self, operand: &str, limit: usize) -> Result<String, DiskError> {
        let path = self.path(operand);
        if let Some(text) = status::proc_file(&path, self.state, self.now) {
            return Ok(text);
        }
        Ok(self.state.guest.disk.file(&path, self.user)?.read(limit))
    }

    fn is_root(&self) -> bool {
        self.user == "root"
    }

    /// The complaint about one operand, in the C library's words.
    fn complaint(&self, operand: &str, error: DiskError) -> String {
        format!("{}: {operand}: {error}", self.name)
    }
}

type Command = fn(&mut Call<'_>) -> Reply;

/// The command called `name`.
pub(super) fn find(name: &str) -> Option<Command> {
    TABLE
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, command)| *command)
}

const TABLE: &[(&str, Command)] = &[
    (":", succeed),
    ("[", accounts::test),
    ("cat", text::cat),
    ("cut", text::cut),
    ("date", status::date),
    ("df", disk::df),
    ("dmesg", journalctl::dmesg),
    ("du", disk::du),
    ("echo", text::echo),
    ("false", fail),
    ("find", find::find),
    ("free", memory::free),
    ("grep", text::grep),
    ("head", text::head),
    ("hostname", accounts::hostname),
    ("id", accounts::id),
    ("journalctl", journalctl::journalctl),
    ("kill", processes::kill),
    ("ls", files::ls),
    ("lsblk", disk::lsblk),
    ("mkdir", files::mkdir),
    ("mount", disk::mount),
    ("nproc", accounts::nproc),
    ("pgrep", processes::pgrep),
    ("pkill", processes::pkill),
    ("poweroff", systemctl::poweroff),
    ("printf", text::printf),
    ("ps", processes::ps),
    ("pwd", accounts::pwd),
    ("reboot", systemctl::reboot),
    ("rm", files::rm),
    ("set", succeed),
    ("sleep", sleep),
    ("sort", text::sort),
    ("stat", files::stat),
    ("sync", succeed),
    ("systemctl", systemctl::systemctl),
    ("tail", text::tail),
    ("tee", text::tee),
    ("test", accounts::test),
    ("top", processes::top),
    ("touch", files::touch),
    ("true", succeed),
    ("truncate", files::truncate),
    ("uname", accounts::uname),
    ("uniq", text::uniq),
    ("uptime", status::uptime),
    ("wc", text::wc),
    ("which", accounts::which),
    ("whoami", accounts::whoami),
];

fn succeed(_: &mut Call<'_>) -> Reply {
    Reply::default()
}

fn fail(_: &mut Call<'_>) -> Reply {
    Reply {
        code: 1,
        ..Reply::default()
    }
}

fn sleep(call: &mut Call<'_>) -> Reply {
    match call.args.first().and_then(|word| seconds(word)) {
        Some(takes) => Reply {
            takes,
            ..Reply::default()
        },
        None => Reply::fail(1, "sleep: invalid time interval"),
    }
}

/// `5`, `0.5`, `5s`, `2m` as a duration.
pub(super) fn seconds(word: &str) -> Option<Duration> {
    let (number, factor) = match word.strip_suffix('m') {
        Some(minutes) => (minutes, 60.0),
        None => (word.trim_end_matches('s'), 1.0),
    };
    let value: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(value * factor).ok()
}

/// Bytes as `df -h`, `du -h` and `ls -h` round them: up, one digit below ten.
fn human(bytes: u64) -> String {
    let mut unit = 0;
    let mut scaled = bytes * 10;
    while scaled >= 10_240 && unit < 5 {
        scaled = scaled.div_ceil(1024);
        unit += 1;
    }
    let letter = ["", "K", "M", "G", "T", "P"][unit];
    match scaled {
        _ if unit == 0 => bytes.to_string(),
        0..=99 => format!("{}.{}{letter}", scaled / 10, scaled % 10),
        _ => format!("{}{letter}", scaled.div_ceil(10)),
    }
}
