//! One call of a program: its arguments, its input, and the machine that it runs on.

use super::proc_files;
use super::units::human;
use crate::machine::{Clock, DiskError, Moment, State, resolve};
use crate::shell::reply::{OUTPUT_MAX_BYTES, Reply};

pub(in crate::shell) struct Call<'a> {
    pub(in crate::shell) name: &'a str,
    pub(in crate::shell) args: &'a [String],
    /// The arguments that are neither options nor values of options.
    pub(in crate::shell) operands: Vec<String>,
    pub(in crate::shell) input: &'a str,
    pub(in crate::shell) user: &'a str,
    pub(in crate::shell) cwd: &'a str,
    pub(in crate::shell) state: &'a mut State,
    pub(in crate::shell) now: Moment,
    pub(in crate::shell) clock: &'a Clock,
}

impl Call<'_> {
    /// Collects the operands; `valued` are the options that take the next argument as their value.
    pub(super) fn parse_operands(&mut self, valued: &[&str]) {
        let mut words = self.args.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                self.operands.extend(words.cloned());
                break;
            }
            if valued.contains(&word.as_str()) {
                words.next();
            } else if !word.starts_with('-') || word == "-" {
                self.operands.push(word.clone());
            }
        }
    }

    /// Whether the one-letter option `letter` is given, alone or with others.
    pub(super) fn has(&self, letter: char) -> bool {
        let options = self.args.iter().take_while(|word| *word != "--");
        let mut short = options.filter(|word| word.starts_with('-') && !word.starts_with("--"));
        short.any(|word| word.contains(letter))
    }

    /// Whether the long option `name` is given, with or without a value.
    pub(super) fn has_long(&self, name: &str) -> bool {
        let mut rest = self.args.iter().filter_map(|word| word.strip_prefix(name));
        rest.any(|rest| rest.is_empty() || rest.starts_with('='))
    }

    /// The value of an option: `-n 5`, `-n5`, `--lines=5`, `--lines 5`.
    pub(super) fn value(&self, names: &[&str]) -> Option<&str> {
        self.args.iter().enumerate().find_map(|(index, word)| {
            let name = names.iter().find(|name| word.starts_with(**name))?;
            let rest = &word[name.len()..];
            match rest.trim_start_matches('=') {
                "" => self.args.get(index + 1).map(String::as_str),
                value if rest.starts_with('=') || !name.starts_with("--") => Some(value),
                _ => None,
            }
        })
    }

    /// The value of an option that is a number.
    pub(super) fn number<T: std::str::FromStr>(&self, names: &[&str]) -> Option<T> {
        self.value(names)?.parse().ok()
    }

    pub(super) fn path(&self, operand: &str) -> String {
        resolve(self.cwd, operand)
    }

    pub(super) fn is_root(&self) -> bool {
        self.user == "root"
    }

    /// `bytes` in the unit that the options `-h`, `-m` and `-b` select, else in `unit`. Rounded up.
    pub(super) fn size(&self, bytes: u64, unit: u64) -> String {
        match () {
            () if self.has('h') => human(bytes),
            () if self.has('m') => bytes.div_ceil(1 << 20).to_string(),
            () if self.has('b') => bytes.to_string(),
            () => bytes.div_ceil(unit).to_string(),
        }
    }

    /// `moment` in the format of `strftime`.
    pub(super) fn date(&self, moment: Moment, format: &str) -> String {
        self.clock.date(moment).strftime(format).to_string()
    }

    /// Runs `run` for every operand.
    pub(super) fn each(
        &mut self,
        mut run: impl FnMut(&mut Self, &str) -> Result<String, String>,
    ) -> Reply {
        let mut reply = Reply::default();
        for operand in std::mem::take(&mut self.operands) {
            reply.add(run(self, &operand));
        }
        reply
    }

    /// Runs `run` for the name and the content of every file among the operands, or of the input.
    pub(super) fn each_text(&mut self, mut run: impl FnMut(&str, &str) -> String) -> Reply {
        if self.operands.is_empty() {
            return Reply::out(run("", self.input));
        }
        self.each(|call, operand| {
            if operand == "-" {
                return Ok(run("", call.input));
            }
            let text = call.read(operand);
            text.map(|text| run(operand, &text))
                .map_err(|error| call.complaint(operand, error))
        })
    }

    fn read(&self, operand: &str) -> Result<String, DiskError> {
        let path = self.path(operand);
        if let Some(text) = proc_files::read(&path, self.state, self.now) {
            return Ok(text);
        }
        let content = self.state.guest.disk.file(&path, self.user)?;
        Ok(content.read(OUTPUT_MAX_BYTES))
    }

    /// The usual error message about one operand.
    pub(super) fn complaint(&self, operand: &str, error: DiskError) -> String {
        format!("{}: {operand}: {error}", self.name)
    }
}
