//! Reads a script: recursive descent over its characters, bounded in length and depth.

use super::syntax::{Action, Connector, Fd, List, Piece, Pipeline, Redirect, Stage, Word};

/// Bytes of script that are read at all.
pub(crate) const MAX_SCRIPT: usize = 16 * 1024;
const MAX_DEPTH: usize = 8;
const MAX_COMMANDS: usize = 512;
const KEYWORDS: [&str; 9] = [
    "if", "for", "while", "until", "case", "function", "select", "then", "do",
];

/// Why a script can't be read, in the shell's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SyntaxError {
    #[error("Syntax error: {0:?} unexpected")]
    Unexpected(String),
    #[error("Syntax error: end of file unexpected")]
    Ended,
    #[error("Syntax error: Unterminated quoted string")]
    Quote,
    #[error("this drill's shell has no {0}")]
    Unsupported(String),
    #[error("this drill's shell reads no script that long or that deep")]
    TooLarge,
}

/// Reads a whole script.
pub(crate) fn parse(script: &str) -> Result<List, SyntaxError> {
    if script.len() > MAX_SCRIPT {
        return Err(SyntaxError::TooLarge);
    }
    let mut reader = Reader {
        rest: script,
        depth: 0,
        commands: 0,
    };
    let list = reader.list(None)?;
    match reader.peek() {
        None => Ok(list),
        Some(c) => Err(SyntaxError::Unexpected(c.to_string())),
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
    commands: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn blanks(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r']);
            if !self.eat("\\\n") {
                break;
            }
        }
        if self.rest.starts_with('#') {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.rest = &self.rest[end..];
        }
    }

    /// Blanks and line ends: between commands.
    fn gaps(&mut self) {
        self.blanks();
        while self.eat("\n") {
            self.blanks();
        }
    }

    /// Commands up to `close`, or to the end. Leaves `close` unread.
    fn list(&mut self, close: Option<char>) -> Result<List, SyntaxError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(SyntaxError::TooLarge);
        }
        let mut list = Vec::new();
        let mut connector = Connector::Always;
        self.gaps();
        while self.peek().is_some() && self.peek() != close {
            list.push((connector, self.pipeline()?));
            connector = self.connector()?;
            self.gaps();
        }
        if connector != Connector::Always {
            return Err(SyntaxError::Ended);
        }
        self.depth -= 1;
        Ok(List(list))
    }

    fn connector(&mut self) -> Result<Connector, SyntaxError> {
        self.blanks();
        if self.eat("&&") {
            return Ok(Connector::And);
        }
        if self.eat("||") {
            return Ok(Connector::Or);
        }
        if self.rest.starts_with(";;") {
            return Err(SyntaxError::Unexpected(";;".to_owned()));
        }
        if self.rest.starts_with('&') {
            return Err(SyntaxError::Unsupported("background jobs (&)".to_owned()));
        }
        let _ = self.eat(";") || self.eat("\n");
        Ok(Connector::Always)
    }

    fn pipeline(&mut self) -> Result<Pipeline, SyntaxError> {
        self.commands += 1;
        if self.commands > MAX_COMMANDS {
            return Err(SyntaxError::TooLarge);
        }
        let negated = self.eat("! ");
        let mut stages = vec![self.stage()?];
        self.blanks();
        while self.rest.starts_with('|') && !self.rest.starts_with("||") {
            self.next();
            self.gaps();
            stages.push(self.stage()?);
            self.blanks();
        }
        Ok(Pipeline { negated, stages })
    }

    fn stage(&mut self) -> Result<Stage, SyntaxError> {
        self.blanks();
        if let Some(close) = self.group_opens() {
            let list = self.list(Some(close))?;
            self.close(close)?;
            let (words, redirects) = self.words()?;
            if let Some(word) = words.first() {
                return Err(SyntaxError::Unexpected(format!("{:?}", word.0)));
            }
            return Ok(Stage {
                action: Action::Group(list),
                redirects,
            });
        }
        let (words, redirects) = self.words()?;
        if words.is_empty() && redirects.is_empty() {
            return Err(self.peek().map_or(SyntaxError::Ended, |c| {
                SyntaxError::Unexpected(c.to_string())
            }));
        }
        if let Some([Piece::Bare(first)]) = words.first().map(|word| word.0.as_slice())
            && KEYWORDS.contains(&first.as_str())
        {
            return Err(SyntaxError::Unsupported(first.clone()));
        }
        Ok(Stage {
            action: Action::Words(words),
            redirects,
        })
    }

    fn group_opens(&mut self) -> Option<char> {
        if self.eat("(") {
            return Some(')');
        }
        (self.eat("{ ") || self.eat("{\n")).then_some('}')
    }

    fn close(&mut self, close: char) -> Result<(), SyntaxError> {
        if self.next() == Some(close) {
            Ok(())
        } else {
            Err(SyntaxError::Ended)
        }
    }

    fn words(&mut self) -> Result<(Vec<Word>, Vec<Redirect>), SyntaxError> {
        let (mut words, mut redirects) = (Vec::new(), Vec::new());
        loop {
            self.blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            match self.peek() {
                None | Some(';' | '&' | '|' | '\n' | ')' | '(') => return Ok((words, redirects)),
                // The brace that closes a group is a word of its own, where a command would begin.
                Some('}') if words.is_empty() => return Ok((words, redirects)),
                Some(_) => words.push(self.word()?),
            }
        }
    }

    fn redirect(&mut self) -> Result<Option<Redirect>, SyntaxError> {
        for (text, fd, from) in COPIES {
            if self.eat(text) {
                return Ok(Some(Redirect::Copy { fd, from }));
            }
        }
        for (text, fd, append) in FILES {
            if self.eat(text) {
                return Ok(Some(Redirect::File {
                    fd,
                    target: self.target()?,
                    append,
                }));
            }
        }
        if self.rest.starts_with("<<") {
            return Err(SyntaxError::Unsupported("here-documents (<<)".to_owned()));
        }
        if self.eat("<") {
            return Ok(Some(Redirect::Input(self.target()?)));
        }
        Ok(None)
    }

    fn target(&mut self) -> Result<Word, SyntaxError> {
        self.blanks();
        let word = self.word()?;
        if word.0.is_empty() {
            return Err(self.peek().map_or(SyntaxError::Ended, |c| {
                SyntaxError::Unexpected(c.to_string())
            }));
        }
        Ok(word)
    }

    fn word(&mut self) -> Result<Word, SyntaxError> {
        let mut pieces = Vec::new();
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => break,
                '\'' => pieces.push(self.single_quoted()?),
                '"' => self.double_quoted(&mut pieces)?,
                '$' => pieces.push(self.dollar(false)?),
                '`' => return Err(SyntaxError::Unsupported("backquotes: use $( )".to_owned())),
                '\\' => {
                    self.next();
                    pieces.push(Piece::Quoted(
                        self.next().map(String::from).unwrap_or_default(),
                    ));
                }
                _ => self.bare(&mut pieces),
            }
        }
        Ok(Word(pieces))
    }

    fn bare(&mut self, pieces: &mut Vec<Piece>) {
        let end = self
            .rest
            .find(|c: char| " \t\r\n;&|<>()'\"$`\\".contains(c))
            .unwrap_or(self.rest.len());
        pieces.push(Piece::Bare(self.rest[..end].to_owned()));
        self.rest = &self.rest[end..];
    }

    fn single_quoted(&mut self) -> Result<Piece, SyntaxError> {
        self.next();
        let end = self.rest.find('\'').ok_or(SyntaxError::Quote)?;
        let text = self.rest[..end].to_owned();
        self.rest = &self.rest[end + 1..];
        Ok(Piece::Quoted(text))
    }

    fn double_quoted(&mut self, pieces: &mut Vec<Piece>) -> Result<(), SyntaxError> {
        self.next();
        let mut text = String::new();
        loop {
            match self.peek().ok_or(SyntaxError::Quote)? {
                '"' => break,
                '$' => {
                    pieces.push(Piece::Quoted(std::mem::take(&mut text)));
                    pieces.push(self.dollar(true)?);
                }
                '`' => return Err(SyntaxError::Unsupported("backquotes: use $( )".to_owned())),
                '\\' => {
                    self.next();
                    let c = self.next().ok_or(SyntaxError::Quote)?;
                    if !"\"\\$`\n".contains(c) {
                        text.push('\\');
                    }
                    text.push(c);
                }
                c => {
                    self.next();
                    text.push(c);
                }
            }
        }
        self.next();
        pieces.push(Piece::Quoted(text));
        Ok(())
    }

    fn dollar(&mut self, quoted: bool) -> Result<Piece, SyntaxError> {
        self.next();
        if self.rest.starts_with("((") {
            return Err(SyntaxError::Unsupported("arithmetic ($(( ))".to_owned()));
        }
        if self.eat("(") {
            let script = self.list(Some(')'))?;
            self.close(')')?;
            return Ok(Piece::Substitution { script, quoted });
        }
        if self.eat("{") {
            let name = self.name();
            return if self.eat("}") && !name.is_empty() {
                Ok(Piece::Variable { name, quoted })
            } else {
                Err(SyntaxError::Unsupported(
                    "${…} with anything but a name".to_owned(),
                ))
            };
        }
        let name = self.name();
        Ok(if name.is_empty() {
            Piece::Quoted("$".to_owned())
        } else {
            Piece::Variable { name, quoted }
        })
    }

    fn name(&mut self) -> String {
        if self.eat("?") {
            return "?".to_owned();
        }
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(self.rest.len());
        let name = self.rest[..end].to_owned();
        self.rest = &self.rest[end..];
        name
    }
}

const COPIES: [(&str, Fd, Fd); 4] = [
    ("2>&1", Fd::Err, Fd::Out),
    ("1>&2", Fd::Out, Fd::Err),
    (">&2", Fd::Out, Fd::Err),
    (">&1", Fd::Out, Fd::Out),
];

const FILES: [(&str, Fd, bool); 6] = [
    ("2>>", Fd::Err, true),
    ("2>", Fd::Err, false),
    ("1>>", Fd::Out, true),
    ("1>", Fd::Out, false),
    (">>", Fd::Out, true),
    (">", Fd::Out, false),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(script: &str) -> Vec<usize> {
        let count = |stage: &Stage| match &stage.action {
            Action::Words(words) => words.len(),
            Action::Group(list) => list.0.len(),
        };
        parse(script)
            .unwrap()
            .0
            .iter()
            .flat_map(|(_, p)| p.stages.iter().map(count))
            .collect()
    }

    #[test]
    fn quotes_keep_blanks_and_operators_together() {
        assert_eq!(words("echo 'a; b' \"c | d\" e\\ f"), [4]);
        assert_eq!(
            words("sh -c 'df -h / && echo $?' 2>&1 | head -n 3 > /dev/null"),
            [3, 3]
        );
        assert_eq!(
            words("(cd /var; ls) || { true; }; x=$(ls | wc -l)"),
            [2, 1, 1]
        );
    }

    #[test]
    fn what_is_not_understood_is_said_and_not_guessed() {
        for script in [
            "echo 'a",
            "a &&",
            "| a",
            "for x in y; do z; done",
            "a & b",
            "cat <<X",
            "(a",
            "a `b`",
        ] {
            assert!(parse(script).is_err(), "{script:?}");
        }
    }

    proptest! {
        #[test]
        fn no_script_panics_the_parser(script in r#"[ -~\n]{0,80}"#) {
            let _ = parse(&script);
        }

        #[test]
        fn no_pile_of_operators_panics_the_parser(script in r#"[;&|<>(){}$'"\\#! a2*é]{0,60}"#) {
            let _ = parse(&script);
        }

        #[test]
        fn depth_is_bounded(depth in 9usize..2000) {
            prop_assert!(parse(&"(".repeat(depth)).is_err());
            prop_assert!(parse(&"$(".repeat(depth)).is_err());
        }
    }
}
