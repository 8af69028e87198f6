//! A command line, split as every shell in use splits it, or refused.
//!
//! Only what sh, dash, busybox ash, bash, zsh, ksh, mksh and fish read alike is accepted: words of
//! a fixed alphabet with quotes and backslashes, the operators `|`, `&&`, `||`, `;` and newline,
//! and redirections that create nothing. All else is refused with a sentence. The shells themselves
//! are asked whether that holds (`tests/shells.rs`, and the fuzz target `shells`).

use std::iter::Peekable;
use std::str::CharIndices;

use breakglass_verbs::is_hidden;

/// Longest line that is judged, in bytes.
const LONGEST: usize = 16 * 1024;

/// The only redirections: they open nothing but `/dev/null` and streams that are open already.
/// `&>` is not among them: to POSIX it ends a command, and begins one behind a redirection.
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

/// One word, as the program gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its text without quotes.
    pub text: String,
    /// Whether it has an unquoted `*`, so that the shell may replace it by the names of files that
    /// match; all begin with `/`.
    pub glob: bool,
}

/// The words of one simple command, the program first; never empty.
pub(super) type Command = Vec<Word>;

/// The simple commands of `line`, in their order; at least one.
///
/// # Errors
/// A sentence: what in the line is more than words and separators.
pub fn split(line: &[u8]) -> Result<Vec<Vec<Word>>, String> {
    if line.len() > LONGEST {
        return Err(format!(
            "it is {} bytes long, and no more than {LONGEST} are judged",
            line.len()
        ));
    }
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let odd = |c: &char| c.is_control() && !matches!(c, '\t' | '\n');
    if let Some(c) = text.chars().find(odd) {
        return Err(format!(
            "it holds the control character {}",
            c.escape_unicode()
        ));
    }
    if let Some(c) = text.chars().find(|c| is_hidden(*c)) {
        return Err(format!(
            "it holds a character that can't be seen, {}",
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
    /// Whether an operator waits for a command to follow.
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

    /// Takes one of [`REDIRECTIONS`] where a word may begin, behind the program: fish knows none
    /// before it, and to zsh one without a program is a program.
    fn redirection(&mut self) -> Result<bool, String> {
        let rest = self.rest();
        let Some(found) = REDIRECTIONS.iter().find(|it| rest.starts_with(**it)) else {
            return Ok(false);
        };
        if !rest[found.len()..].starts_with([' ', '\t', '\n', ';', '|', '&']) && rest != *found {
            return Err(format!(
                "what follows the redirection `{found}` is not known"
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

    /// Blank lines are nothing, also after an operator.
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
                // Also behind empty quotes.
                '=' | '%' if word.text.is_empty() => return Err(meaning_first(c)),
                _ if plain(c) => word.text.push(c),
                _ => return Err(meaning(c)),
            }
        }
        if word.glob && quoted {
            return Err(format!(
                "some shells take the pattern `{}` for text, since a part of it is quoted",
                shown(&word.text)
            ));
        }
        if word.glob && !word.text.starts_with('/') {
            return Err(format!(
                "the pattern `{}` may become an option: quote it, or begin it with `/`",
                shown(&word.text)
            ));
        }
        self.open.push(word);
        Ok(())
    }

    /// The rest of a word's part in single quotes. To fish a backslash hides a quote or a backslash
    /// there, and zsh can be set to take two quotes for one.
    fn single(&mut self, text: &mut String) -> Result<(), String> {
        let mut last = None;
        loop {
            match self.chars.next() {
                None => return Err("a `'` is not closed".to_owned()),
                Some((_, '\'' | '\\')) if last == Some('\\') => {
                    return Err(
                        "some shells take a backslash before `'` or `\\` away in single \
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
                Some((_, '\n')) => return Err("a newline stands within double quotes".to_owned()),
                Some((_, '\\')) => self.escaped_in_quotes(text)?,
                Some((_, c)) if c.is_ascii() && !"$`!".contains(c) => text.push(c),
                Some((_, c)) => return Err(meaning(c)),
                None => return Err("a `\"` is not closed".to_owned()),
            }
        }
    }

    /// What a backslash and the character behind it are in double quotes.
    fn escaped_in_quotes(&mut self, text: &mut String) -> Result<(), String> {
        match self.chars.next() {
            Some((_, c @ ('"' | '\\' | '$'))) => text.push(c),
            Some((_, c @ (' '..='~' | '\t'))) if !"`!".contains(c) => text.extend(['\\', c]),
            _ => {
                return Err(
                    "a backslash in double quotes stands before what not every shell takes \
                            the same way"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    /// The character after a backslash. Before a letter or a digit fish takes it for a code.
    fn escaped(&mut self) -> Result<char, String> {
        match self.chars.next() {
            Some((_, c @ ' '..='~')) if !c.is_ascii_alphanumeric() => Ok(c),
            Some((_, c)) if c.is_ascii_alphanumeric() => Err(format!(
                "`\\{c}` is a code to some shells; put it in single quotes"
            )),
            _ => Err("a backslash stands before no printable ASCII character".to_owned()),
        }
    }
}

/// Characters that mean themselves in every shell, wherever they stand in a word; `=` and `%` not
/// at its beginning.
fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "@%_+=:,./-".contains(c)
}

/// Why `=` or `%` may not begin a word.
fn meaning_first(c: char) -> String {
    format!("a word that begins with `{c}` is expanded by some shells; quote it")
}

/// Why a character is not taken as it stands.
fn meaning(c: char) -> String {
    match c {
        '$' => "`$` is expanded by the shell".to_owned(),
        '`' => "a backtick runs a command within the command".to_owned(),
        '(' | ')' => format!("`{c}` runs commands in a subshell; quote it where text is meant"),
        '{' | '}' => format!("`{c}` groups or expands; quote it where text is meant"),
        '<' | '>' => format!(
            "`{c}` redirects, and only `2>&1`, `>&2` and redirections to or from /dev/null that stand apart are known"
        ),
        '!' => "`!` negates or expands; put it in single quotes where text is meant".to_owned(),
        '?' | '[' | ']' => {
            format!("`{c}` is a pattern to some shells only; quote it where text is meant")
        }
        '#' => "`#` begins a comment; quote it where text is meant".to_owned(),
        '~' => "`~` is expanded by the shell; write the path".to_owned(),
        _ => format!(
            "`{}` needs single quotes: not every shell takes it as it stands",
            c.escape_debug()
        ),
    }
}

/// Text for a sentence: its first characters, in one line.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let text = text.replace('\n', "\\n");
    if text.chars().count() <= MOST {
        return text;
    }
    let mut cut: String = text.chars().take(MOST).collect();
    cut.push('…');
    cut
}
