//! A command line, split as every POSIX shell splits it, or refused.
//!
//! Only what sh, dash, bash and zsh read alike is accepted: words of a fixed alphabet with quotes
//! and backslashes, the operators `|`, `&&`, `||`, `;` and newline, and redirections that create
//! nothing. All that a shell would expand, run or write is refused with a sentence.

use std::iter::Peekable;
use std::str::CharIndices;

/// Longest line that is judged, in bytes.
const LONGEST: usize = 16 * 1024;

/// The only redirections: they open nothing but `/dev/null` and streams that are open already.
const REDIRECTIONS: [&str; 12] = [
    "2>&1",
    "1>&2",
    ">&2",
    "2>/dev/null",
    "2> /dev/null",
    "1>/dev/null",
    ">/dev/null",
    "> /dev/null",
    "&>/dev/null",
    "&> /dev/null",
    "</dev/null",
    "< /dev/null",
];

/// One word, as the program gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Its text without quotes.
    pub(super) text: String,
    /// Whether the shell may replace it by the names of files that match; all begin with `/`.
    pub(super) glob: bool,
}

/// The words of one simple command, the program first; never empty.
pub(super) type Command = Vec<Word>;

/// The simple commands of `line`, in their order; at least one.
///
/// # Errors
/// A sentence: what in the line is more than words and separators.
pub(super) fn split(line: &[u8]) -> Result<Vec<Command>, String> {
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
    let mut splitter = Splitter {
        text,
        chars: text.char_indices().peekable(),
        commands: Vec::new(),
        open: Vec::new(),
        redirected: false,
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
    /// Whether that command has a redirection.
    redirected: bool,
    /// Whether an operator waits for a command to follow.
    wanted: bool,
}

impl Splitter<'_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(c) = self.peek() {
            if matches!(c, ' ' | '\t') {
                self.chars.next();
            } else if !self.redirection()? {
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

    /// Takes one of [`REDIRECTIONS`] where a word may begin.
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
        self.redirected = true;
        Ok(true)
    }

    /// Ends the open command, which must have a program.
    fn close(&mut self) -> Result<(), String> {
        if self.open.is_empty() {
            return Err("a command is missing between two operators".to_owned());
        }
        self.commands.push(std::mem::take(&mut self.open));
        self.redirected = false;
        self.wanted = false;
        Ok(())
    }

    /// Blank lines are nothing, also after an operator.
    fn newline(&mut self) -> Result<(), String> {
        self.chars.next();
        if self.open.is_empty() && !self.redirected {
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
        if self.peek() == Some('=') {
            return Err("a word that begins with `=` is expanded by some shells".to_owned());
        }
        while let Some((_, c)) = self
            .chars
            .next_if(|(_, c)| !matches!(c, ' ' | '\t' | '\n' | ';' | '|' | '&'))
        {
            match c {
                '\'' => self.single(&mut word.text)?,
                '"' => self.double(&mut word.text)?,
                '\\' => word.text.push(self.escaped()?),
                '*' | '?' | '[' => {
                    word.glob = true;
                    word.text.push(c);
                }
                _ if plain(c) => word.text.push(c),
                _ => return Err(meaning(c)),
            }
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

    fn single(&mut self, text: &mut String) -> Result<(), String> {
        loop {
            match self.chars.next() {
                Some((_, '\'')) => return Ok(()),
                Some((_, '\n')) => return Err(NEWLINE.to_owned()),
                Some((_, c)) => text.push(c),
                None => return Err("a `'` is not closed".to_owned()),
            }
        }
    }

    fn double(&mut self, text: &mut String) -> Result<(), String> {
        loop {
            match self.chars.next() {
                Some((_, '"')) => return Ok(()),
                Some((_, '\n')) => return Err(NEWLINE.to_owned()),
                Some((_, c @ ('$' | '`' | '!'))) => return Err(meaning(c)),
                Some((_, '\\')) => match self.escaped()? {
                    c @ ('"' | '\\' | '$' | '`') => text.push(c),
                    c => text.extend(['\\', c]),
                },
                Some((_, c)) if c.is_ascii() => text.push(c),
                Some((_, c)) => return Err(meaning(c)),
                None => return Err("a `\"` is not closed".to_owned()),
            }
        }
    }

    /// The character after a backslash.
    fn escaped(&mut self) -> Result<char, String> {
        match self.chars.next() {
            Some((_, c)) if matches!(c, ' '..='~') => Ok(c),
            _ => Err("a backslash stands before no printable ASCII character".to_owned()),
        }
    }
}

const NEWLINE: &str = "a newline stands within quotes";

/// Characters that mean themselves in every shell, wherever they stand in a word.
fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "@%_+=:,./-]".contains(c)
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
        '#' => "`#` begins a comment; quote it where text is meant".to_owned(),
        '~' => "`~` is expanded by the shell; write the path".to_owned(),
        _ => format!(
            "`{}` needs single quotes: not every shell takes it as it stands",
            c.escape_debug()
        ),
    }
}

/// Text for a sentence: its first characters.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(MOST).collect();
    cut.push('…');
    cut
}
