//! Parses the words of a script: quotes, variables, substitutions.

use std::mem::take;

use super::syntax::{Piece, Value, Word};

/// Why a script can't be parsed, in the shell's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SyntaxError {
    #[error("Syntax error: \"{0}\" unexpected")]
    Unexpected(String),
    #[error("Syntax error: end of file unexpected")]
    Ended,
    #[error("Syntax error: Unterminated quoted string")]
    Quote,
    #[error("the drill's shell does not support {0}")]
    Unsupported(&'static str),
    #[error("the drill's shell does not support a script that long or nested that deeply")]
    TooLarge,
}

pub(super) type Parsed<T> = Result<T, SyntaxError>;

/// A parser at a position in the script. `parse` implements everything above words.
pub(super) struct Parser<'a> {
    pub(super) rest: &'a str,
    pub(super) depth: usize,
    pub(super) pipelines: usize,
}

impl Parser<'_> {
    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    pub(super) fn take_until(&mut self, ends: impl Fn(char) -> bool) -> String {
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken.to_owned()
    }

    pub(super) fn unexpected(&self) -> SyntaxError {
        self.peek().map_or(SyntaxError::Ended, |c| {
            SyntaxError::Unexpected(c.to_string())
        })
    }

    pub(super) fn skip_blanks(&mut self, newlines: bool) {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r']);
            if self.rest.starts_with('#') {
                self.take_until(|c| c == '\n');
            }
            let is_newline = self.eat("\\\n") || (newlines && self.eat("\n"));
            if !is_newline {
                break;
            }
        }
    }

    pub(super) fn word(&mut self) -> Parsed<Word> {
        let mut word = Word::new();
        while let Some(c) = self.peek() {
            if " \t\r\n;&|<>()".contains(c) {
                break;
            }
            if !"'\"$`\\".contains(c) {
                let bare = self.take_until(|c| " \t\r\n;&|<>()'\"$`\\".contains(c));
                word.push(text(bare, false));
                continue;
            }
            self.next();
            match c {
                '\'' => {
                    word.push(text(self.take_until(|c| c == '\''), true));
                    self.next().ok_or(SyntaxError::Quote)?;
                }
                '"' => self.double_quoted(&mut word)?,
                '$' => word.push(self.dollar(false)?),
                '\\' => word.push(text(String::from_iter(self.next()), true)),
                _ => return Err(SyntaxError::Unsupported("backquotes: use $( )")),
            }
        }
        Ok(word)
    }

    fn double_quoted(&mut self, word: &mut Word) -> Parsed<()> {
        let mut plain = String::new();
        loop {
            match self.next().ok_or(SyntaxError::Quote)? {
                '"' => break,
                '$' => {
                    word.push(text(take(&mut plain), true));
                    word.push(self.dollar(true)?);
                }
                '`' => return Err(SyntaxError::Unsupported("backquotes: use $( )")),
                '\\' => {
                    let c = self.next().ok_or(SyntaxError::Quote)?;
                    if !"\"\\$`\n".contains(c) {
                        plain.push('\\');
                    }
                    plain.push(c);
                }
                c => plain.push(c),
            }
        }
        word.push(text(plain, true));
        Ok(())
    }

    /// The variable or substitution after a dollar sign.
    fn dollar(&mut self, quoted: bool) -> Parsed<Piece> {
        if self.rest.starts_with("((") {
            return Err(SyntaxError::Unsupported("arithmetic ($(( ))"));
        }
        let value = if self.eat("(") {
            Value::Output(self.list(Some(")"))?)
        } else if self.eat("{") {
            let name = self.name();
            if name.is_empty() || !self.eat("}") {
                return Err(SyntaxError::Unsupported("${…} with more than a name"));
            }
            Value::Variable(name)
        } else {
            let name = self.name();
            if name.is_empty() {
                return Ok(text("$", true));
            }
            Value::Variable(name)
        };
        Ok(Piece { value, quoted })
    }

    fn name(&mut self) -> String {
        if self.eat("?") {
            return "?".to_owned();
        }
        self.take_until(|c| !c.is_ascii_alphanumeric() && c != '_')
    }
}

/// A piece of literal text.
pub(super) fn text(text: impl Into<String>, quoted: bool) -> Piece {
    let value = Value::Text(text.into());
    Piece { value, quoted }
}
