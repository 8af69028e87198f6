//! One rule: decides which calls of a program only read.

use super::kind::{Kind, is_number};
use super::words::{Word, shown};

/// How a program parses its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As `getopt_long`: short options in clusters, `--` ends them, a value attached or after.
    Getopt,
    /// Each option is a word, its value the next word, as with `find` and `ip`.
    Words,
    /// Without relevant options: every word is an operand.
    Plain,
}

/// Whether an option takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Never,
    Required(Kind),
    /// Only attached: `--color=always`.
    Attached(Kind),
}

/// An option that a rule allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opt {
    /// With its dashes. `-#` stands for a dash with digits, as in `tail -20`.
    pub(super) name: String,
    pub(super) value: Value,
    /// Whether it may stand before the subcommand.
    pub(super) global: bool,
}

/// Operands in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Operands {
    /// At most one of each, all of them optional.
    pub(super) single: Vec<Kind>,
    /// After those, any number.
    pub(super) rest: Option<Kind>,
}

/// A rule as it is applied.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) programs: Vec<String>,
    pub(super) style: Style,
    /// The possible first words; empty if the program has no subcommands. One without words is
    /// the bare program without operands.
    pub(super) subcommands: Vec<Vec<String>>,
    pub(super) options: Vec<Opt>,
    /// One option of each entry is required.
    pub(super) require: Vec<Vec<String>>,
    pub(super) operands: Operands,
}

/// Why a rule does not allow a command.
#[derive(Debug)]
pub(super) struct Mismatch {
    pub(super) why: String,
    /// Whether program and subcommand match this rule, so that the reason is helpful.
    pub(super) close: bool,
}

impl Rule {
    /// Whether `arguments`, given to one of this rule's programs, are allowed.
    pub(super) fn allows(&self, arguments: &[Word]) -> Result<(), Mismatch> {
        let mut call = Call {
            rule: self,
            rest: arguments,
            given: Vec::new(),
            operands: Vec::new(),
            begun: self.subcommands.is_empty(),
        };
        let result = call.read().and_then(|()| call.check());
        let close = call.begun;
        result.map_err(|why| Mismatch { why, close })
    }
}

/// One reading of arguments.
struct Call<'a> {
    rule: &'a Rule,
    rest: &'a [Word],
    given: Vec<&'a str>,
    operands: Vec<&'a Word>,
    /// Whether the subcommand has been read.
    begun: bool,
}

impl<'a> Call<'a> {
    fn next(&mut self) -> Option<&'a Word> {
        let (word, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(word)
    }

    fn read(&mut self) -> Result<(), String> {
        while let Some(word) = self.next() {
            let text = word.text.as_str();
            match self.rule.style {
                Style::Getopt if text == "--" && self.begun => {
                    self.operands.extend(self.rest);
                    self.rest = &[];
                }
                Style::Getopt if text.starts_with("--") => self.long(text)?,
                Style::Getopt if self.is_whole_word(text) => self.whole(text)?,
                Style::Getopt if text.starts_with('-') && text.len() > 1 => self.cluster(text)?,
                Style::Words if text.starts_with('-') || self.is_whole_word(text) => {
                    self.whole(text)?;
                }
                _ if !self.begun => self.subcommand(text)?,
                _ => self.operands.push(word),
            }
        }
        Ok(())
    }

    /// Whether `text` is an option that is not read by `getopt`.
    fn is_whole_word(&self, text: &str) -> bool {
        let in_words = self.rule.style == Style::Words || !text.starts_with('-');
        (in_words && self.find(text).is_some()) || is_digits(text)
    }

    fn find(&self, name: &str) -> Option<&'a Opt> {
        self.rule.options.iter().find(|it| it.name == name)
    }

    /// The option with this name, if it may stand here.
    fn option(&mut self, name: &str) -> Result<&'a Opt, String> {
        let known = self.find(name).filter(|it| self.begun || it.global);
        let option = known.ok_or_else(|| {
            format!(
                "the option `{}` is not known to only read{}",
                shown(name),
                if self.begun {
                    ""
                } else {
                    " before a subcommand"
                }
            )
        })?;
        // Some programs do not parse options after an operand: to them this word is one more operand, so it must
        // not be the option that makes the call harmless.
        if self.operands.is_empty() || !self.rule.subcommands.is_empty() {
            self.given.push(&option.name);
        } else if self.rule.operands.rest.is_none() {
            return Err(format!(
                "`{}` must be placed before the operands",
                shown(name)
            ));
        }
        Ok(option)
    }

    fn long(&mut self, text: &str) -> Result<(), String> {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let option = self.option(name)?;
        match (option.value, attached) {
            (Value::Never, Some(_)) => Err(format!("`{name}` takes no value")),
            (Value::Never | Value::Attached(_), None) => Ok(()),
            (Value::Required(kind) | Value::Attached(kind), Some(value)) => kind.check(value),
            (Value::Required(kind), None) => self.value(name, kind),
        }
    }

    fn whole(&mut self, text: &str) -> Result<(), String> {
        let name = if is_digits(text) && self.find(text).is_none() {
            "-#"
        } else {
            text
        };
        match self.option(name)?.value {
            Value::Required(kind) => self.value(text, kind),
            Value::Never | Value::Attached(_) => Ok(()),
        }
    }

    fn cluster(&mut self, text: &str) -> Result<(), String> {
        let mut letters = text[1..].chars();
        while let Some(letter) = letters.next() {
            let name = format!("-{letter}");
            let attached = letters.as_str();
            match self.option(&name)?.value {
                Value::Never => {}
                Value::Attached(_) if attached.is_empty() => {}
                Value::Required(kind) if attached.is_empty() => return self.value(&name, kind),
                Value::Required(kind) | Value::Attached(kind) => return kind.check(attached),
            }
        }
        Ok(())
    }

    /// A value in a word of its own. It must not look like an option: if the program disagrees about which
    /// option takes a value, it would be one.
    fn value(&mut self, name: &str, kind: Kind) -> Result<(), String> {
        let Some(word) = self.next() else {
            return Err(format!("the value of `{name}` is missing"));
        };
        if word.text.starts_with('-') && !is_number(&word.text) {
            return Err(format!(
                "the value `{}` of `{name}` looks like an option",
                shown(&word.text)
            ));
        }
        if let (Style::Getopt, false, Some(operand)) = (
            self.rule.style,
            self.operands.is_empty(),
            self.rule.operands.rest,
        ) {
            operand.check_single(word)?;
        }
        kind.check_single(word)
    }

    fn subcommand(&mut self, first: &str) -> Result<(), String> {
        let after = self.rest;
        let here = |words: &&Vec<String>| {
            words.split_first().is_some_and(|(word, more)| {
                word == first
                    && more.len() <= after.len()
                    && more.iter().zip(after).all(|(word, it)| *word == it.text)
            })
        };
        let found = self
            .rule
            .subcommands
            .iter()
            .filter(here)
            .map(Vec::len)
            .max();
        let Some(length) = found else {
            return Err(format!("`{}` is not known to only read", shown(first)));
        };
        self.rest = &after[length - 1..];
        self.begun = true;
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if !self.begun && !self.rule.subcommands.iter().any(Vec::is_empty) {
            return Err("it names no subcommand that is known to only read".to_owned());
        }
        for names in &self.rule.require {
            if !names.iter().any(|name| self.given.contains(&name.as_str())) {
                return Err(format!("it only reads with `{}`", names.join("` or `")));
            }
        }
        let Operands { single, rest } = &self.rule.operands;
        for (at, word) in self.operands.iter().enumerate() {
            match (single.get(at), rest) {
                (Some(kind), _) => kind.check_single(word)?,
                (None, Some(kind)) => kind.check_one_of_many(word)?,
                (None, None) => {
                    return Err(format!(
                        "the operand `{}` is one more than this rule allows",
                        shown(&word.text)
                    ));
                }
            }
        }
        Ok(())
    }
}

/// A dash and digits.
fn is_digits(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|digits| {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}
