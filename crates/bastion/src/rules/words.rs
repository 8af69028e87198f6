//! A command line, split as every shell in use splits it, or refused.
//!
//! A line is accepted only if sh, dash, busybox ash, bash, zsh, ksh, mksh and fish read it alike: words of
//! a fixed alphabet with quotes and backslashes, the operators `|`, `&&`, `||`, `;` and newline,
//! and redirections that create nothing. Any other line is refused with a reason. Tests compare the result
//! with the shells themselves (`tests/shells.rs`, and the fuzz target `shells`).

use std::iter::Peekable;
use std::str::CharIndices;

use breakglass_verbs::is_hidden;

/// Maximum size of a line.
const LINE_MAX_BYTES: usize = 16 * 1024;

/// The accepted redirections: they open nothing but `/dev/null` and streams that are already open.
/// `&>` is not among them: in POSIX it ends one command and starts another.
const REDIRECTIONS: [&str; 10] = [
    "2>&1",
    "1>&2",
    ">&2",
    "2>/dev/null",
    "2> /dev/null",
    "1>/dev/null",
    ">/dev/null",
    "> /dev/null",
    "</dev/null",
    "< /dev/null",
];

/// One word, as the program receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its text without quotes.
    pub text: String,
    /// Whether it contains an unquoted `*`, which the shell may expand to the names of matching files; all
    /// start with `/`.
    pub glob: bool,
}

/// The words of one simple command, the program first; never empty.
pub(super) type Command = Vec<Word>;

/// The simple commands of `line`, in their order; at least one.
///
/// # Errors
/// A sentence about the part of the line that is not accepted.
pub fn split(line: &[u8]) -> Result<Vec<Vec<Word>>, String> {
    if line.len() > LINE_MAX_BYTES {
        return Err(format!(
            "it is {} bytes long, but at most {LINE_MAX_BYTES} can be judged",
            line.len()
        ));
    }
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let odd = |c: &char| c.is_control() && !matches!(c, '\t' | '\n');
    if let Some(c) = text.chars().find(odd) {
        return Err(format!(
            "it contains the control character {}",
            c.escape_unicode()
        ));
    }
    if let Some(c) = text.chars().find(|c| is_hidden(*c)) {
        return Err(format!(
            "it contains an invisible character, {}",
            c.escape_unicode()
        ));
    }
    let mut splitter = Splitter {
        text,
        chars: text.char_indices().peekable(),
        commands: Vec::new(),
        open: Vec::new(),
        wanted: false,
    };
    splitter.run()?;
    Ok(splitter.commands)
}

struct Splitter<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    commands: Vec<Command>,
    /// The command that is being read.
    open: Command,
    /// Whether an operator requires another command.
    wanted: bool,
}

impl Splitter<'_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(c) = self.peek() {
            if matches!(c, ' ' | '\t') {
                self.chars.next();
            } else if self.open.is_empty() || !self.redirection()? {
                match c {
                    '\n' => self.newline()?,
                    ';' | '|' | '&' => self.operator(c)?,
                    _ => self.word()?,
                }
            }
        }
        if self.wanted && self.open.is_empty() {
            return Err("a command is missing at its end".to_owned());
        }
        self.newline()?;
        if self.commands.is_empty() {
            return Err("it names no program".to_owned());
        }
        Ok(())
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|(_, c)| *c)
    }

    fn rest(&mut self) -> &str {
        let at = self.chars.peek().map_or(self.text.len(), |(at, _)| *at);
        &self.text[at..]
    }

    /// Skips one of [`REDIRECTIONS`] after the program: fish accepts none before it, and zsh runs a program for a
    /// redirection without one.
    fn redirection(&mut self) -> Result<bool, String> {
        let rest = self.rest();
        let Some(found) = REDIRECTIONS.iter().find(|it| rest.starts_with(**it)) else {
            return Ok(false);
        };
        if !rest[found.len()..].starts_with([' ', '\t', '\n', ';', '|', '&']) && rest != *found {
            return Err(format!(
                "the text after the redirection `{found}` is not known"
            ));
        }
        for _ in found.chars() {
            self.chars.next();
        }
        Ok(true)
    }

    /// Ends the open command, which must have a program.
    fn close(&mut self) -> Result<(), String> {
        if self.open.is_empty() {
            return Err("a command is missing between two operators".to_owned());
        }
        self.commands.push(std::mem::take(&mut self.open));
        self.wanted = false;
        Ok(())
    }

    /// Blank lines have no effect, also after an operator.
    fn newline(&mut self) -> Result<(), String> {
        self.chars.next();
        if self.open.is_empty() {
            return Ok(());
        }
        self.close()
    }

    fn operator(&mut self, c: char) -> Result<(), String> {
        self.chars.next();
        self.close()?;
        let twice = c != ';' && self.chars.next_if(|(_, next)| *next == c).is_some();
        if c == '&' && !twice {
            return Err("`&` runs a command in the background".to_owned());
        }
        self.wanted = c != ';';
        Ok(())
    }

    fn word(&mut self) -> Result<(), String> {
        let mut word = Word {
            text: String::new(),
            glob: false,
        };
        let mut quoted = false;
        while let Some((_, c)) = self
            .chars
            .next_if(|(_, c)| !matches!(c, ' ' | '\t' | '\n' | ';' | '|' | '&'))
        {
            quoted |= matches!(c, '\'' | '"' | '\\');
            match c {
                '\'' => self.single(&mut word.text)?,
                '"' => self.double(&mut word.text)?,
                '\\' => word.text.push(self.escaped()?),
                '*' => {
                    word.glob = true;
                    word.text.push(c);
                    if self.peek() == Some('*') {
                        return Err("`**` matches more in some shells than in others".to_owned());
                    }
                }
                // Also after empty quotes.
                '=' | '%' if word.text.is_empty() => return Err(meaning_first(c)),
                _ if plain(c) => word.text.push(c),
                _ => return Err(meaning(c)),
            }
        }
        if word.glob && quoted {
            return Err(format!(
                "some shells read the pattern `{}` as text, since a part of it is quoted",
                shown(&word.text)
            ));
        }
        if word.glob && !word.text.starts_with('/') {
            return Err(format!(
                "the pattern `{}` may expand to an option: quote it, or start it with `/`",
                shown(&word.text)
            ));
        }
        self.open.push(word);
        Ok(())
    }

    /// The rest of a part in single quotes. In fish a backslash escapes a quote or a backslash
    /// there, and zsh can be configured to read two quotes as one.
    fn single(&mut self, text: &mut String) -> Result<(), String> {
        let mut last = None;
        loop {
            match self.chars.next() {
                None => return Err("a `'` is not closed".to_owned()),
                Some((_, '\'' | '\\')) if last == Some('\\') => {
                    return Err(
                        "some shells remove a backslash before `'` or `\\` in single \
                                quotes; use double quotes"
                            .to_owned(),
                    );
                }
                Some((_, '\'')) if self.peek() == Some('\'') => {
                    return Err("two texts in single quotes touch".to_owned());
                }
                Some((_, '\'')) => return Ok(()),
                Some((_, c)) => {
                    text.push(c);
                    last = Some(c);
                }
            }
        }
    }

    fn double(&mut self, text: &mut String) -> Result<(), String> {
        loop {
            match self.chars.next() {
                Some((_, '"')) => return Ok(()),
                Some((_, '\n')) => return Err("double quotes contain a newline".to_owned()),
                Some((_, '\\')) => self.escaped_in_quotes(text)?,
                Some((_, c)) if c.is_ascii() && !"$`!".contains(c) => text.push(c),
                Some((_, c)) => return Err(meaning(c)),
                None => return Err("a `\"` is not closed".to_owned()),
            }
        }
    }

    /// The meaning of a backslash and the character after it in double quotes.
    fn escaped_in_quotes(&mut self, text: &mut String) -> Result<(), String> {
        match self.chars.next() {
            Some((_, c @ ('"' | '\\' | '$'))) => text.push(c),
            Some((_, c @ (' '..='~' | '\t'))) if !"`!".contains(c) => text.extend(['\\', c]),
            _ => {
                return Err(
                    "a backslash in double quotes comes before a character that not every shell reads \
                            the same way"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    /// The character after a backslash. Before a letter or a digit fish reads it as an escape code.
    fn escaped(&mut self) -> Result<char, String> {
        match self.chars.next() {
            Some((_, c @ ' '..='~')) if !c.is_ascii_alphanumeric() => Ok(c),
            Some((_, c)) if c.is_ascii_alphanumeric() => Err(format!(
                "`\\{c}` is an escape code in some shells; put it in single quotes"
            )),
            _ => Err("a backslash comes before a character that is not printable ASCII".to_owned()),
        }
    }
}

/// Characters without a special meaning in every shell; `=` and `%` only if they do not start the word.
fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "@%_+=:,./-".contains(c)
}

/// Why `=` or `%` must not start a word.
fn meaning_first(c: char) -> String {
    format!("some shells expand a word that starts with `{c}`; quote it")
}

/// Why a character is not accepted.
fn meaning(c: char) -> String {
    match c {
        '$' => "`$` is expanded by the shell".to_owned(),
        '`' => "a backtick runs a command within the command".to_owned(),
        '(' | ')' => format!("`{c}` runs commands in a subshell; quote it if it is meant as text"),
        '{' | '}' => format!("`{c}` groups or expands; quote it if it is meant as text"),
        '<' | '>' => format!(
            "`{c}` redirects, and only `2>&1`, `>&2` and separate redirections to or from /dev/null are accepted"
        ),
        '!' => "`!` negates or expands; put it in single quotes if it is meant as text".to_owned(),
        '?' | '[' | ']' => {
            format!("`{c}` is a pattern to some shells only; quote it if it is meant as text")
        }
        '#' => "`#` starts a comment; quote it if it is meant as text".to_owned(),
        '~' => "`~` is expanded by the shell; write the path".to_owned(),
        _ => format!(
            "`{}` needs single quotes: not every shell reads it the same way",
            c.escape_debug()
        ),
    }
}

/// Text for a message: its first characters, in one line.
pub(super) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let text = text.replace('\n', "\\n");
    if text.chars().count() <= CHARS_MAX {
        return text;
    }
    let mut cut: String = text.chars().take(CHARS_MAX).collect();
    cut.push('…');
    cut
}
