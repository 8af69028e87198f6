//! Parses a script by recursive descent. Length, depth and number of commands are bounded, so that
//! no script can exhaust the stack. A script outside the subset of the shell language that the drill
//! supports is refused by name, never guessed.

use super::syntax::{Body, Connector, List, Pipeline, Redirect, Stage, Stream, Target, Word};
use super::words::{Parsed, Parser, SyntaxError, text};

const SCRIPT_MAX_BYTES: usize = 16 * 1024;
const DEPTH_MAX: usize = 8;
const PIPELINES_MAX: usize = 512;
const KEYWORDS: [&str; 9] = [
    "if", "for", "while", "until", "case", "function", "select", "then", "do",
];
/// Longer operators come before their prefixes.
const REDIRECTS: [(&str, Stream); 10] = [
    ("2>>", Stream::Err),
    ("1>>", Stream::Out),
    (">>", Stream::Out),
    ("2>&", Stream::Err),
    ("1>&", Stream::Out),
    (">&", Stream::Out),
    ("2>", Stream::Err),
    ("1>", Stream::Out),
    (">", Stream::Out),
    ("<", Stream::In),
];

/// Parses a whole script.
pub(super) fn parse(script: &str) -> Result<List, SyntaxError> {
    if script.len() > SCRIPT_MAX_BYTES {
        return Err(SyntaxError::TooLarge);
    }
    let mut parser = Parser {
        rest: script,
        depth: 0,
        pipelines: 0,
    };
    parser.list(None)
}

impl Parser<'_> {
    /// Pipelines up to and including `close`, or to the end of the script.
    pub(super) fn list(&mut self, close: Option<&str>) -> Parsed<List> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(SyntaxError::TooLarge);
        }
        let mut list = List::default();
        let mut connector = Connector::Always;
        self.skip_blanks(true);
        while !self.rest.is_empty() && !close.is_some_and(|close| self.rest.starts_with(close)) {
            list.0.push((connector, self.pipeline()?));
            connector = self.connector()?;
            self.skip_blanks(true);
        }
        self.depth -= 1;
        if connector != Connector::Always || !close.is_none_or(|close| self.eat(close)) {
            return Err(SyntaxError::Ended);
        }
        Ok(list)
    }

    fn connector(&mut self) -> Parsed<Connector> {
        self.skip_blanks(false);
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
            return Err(SyntaxError::Unsupported("background jobs (&)"));
        }
        let _ = self.eat(";") || self.eat("\n");
        Ok(Connector::Always)
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        self.pipelines += 1;
        if self.pipelines > PIPELINES_MAX {
            return Err(SyntaxError::TooLarge);
        }
        let negated = self.eat("! ");
        let mut stages = vec![self.stage()?];
        while self.rest.starts_with('|') && !self.rest.starts_with("||") {
            self.next();
            self.skip_blanks(true);
            stages.push(self.stage()?);
        }
        Ok(Pipeline { negated, stages })
    }

    fn stage(&mut self) -> Parsed<Stage> {
        self.skip_blanks(false);
        let group = if self.eat("(") {
            Some(self.list(Some(")"))?)
        } else if self.eat("{ ") || self.eat("{\n") {
            Some(self.list(Some("}"))?)
        } else {
            None
        };
        let (words, redirects) = self.words()?;
        let body = match group {
            Some(_) if !words.is_empty() => {
                return Err(SyntaxError::Unexpected("word".to_owned()));
            }
            Some(list) => Body::Group(list),
            None if words.is_empty() && redirects.is_empty() => return Err(self.unexpected()),
            None => Body::Command(words),
        };
        if let Body::Command(words) = &body
            && let Some([name]) = words.first().map(Word::as_slice)
            && let Some(keyword) = KEYWORDS.iter().find(|word| *name == text(**word, false))
        {
            return Err(SyntaxError::Unsupported(keyword));
        }
        Ok(Stage { body, redirects })
    }

    fn words(&mut self) -> Parsed<(Vec<Word>, Vec<Redirect>)> {
        let mut words: Vec<Word> = Vec::new();
        let mut redirects = Vec::new();
        loop {
            self.skip_blanks(false);
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            match self.peek() {
                None | Some(';' | '&' | '|' | '\n' | ')' | '(') => return Ok((words, redirects)),
                // Only at the beginning of a command does a brace close a group.
                Some('}') if words.is_empty() => return Ok((words, redirects)),
                Some(_) => words.push(self.word()?),
            }
        }
    }

    fn redirect(&mut self) -> Parsed<Option<Redirect>> {
        if self.rest.starts_with("<<") {
            return Err(SyntaxError::Unsupported("here-documents (<<)"));
        }
        let Some((operator, from)) = REDIRECTS.into_iter().find(|(text, _)| self.eat(text)) else {
            return Ok(None);
        };
        self.skip_blanks(false);
        let to = if operator.ends_with('&') {
            Target::Stream(match self.next() {
                Some('1') => Stream::Out,
                Some('2') => Stream::Err,
                _ => return Err(SyntaxError::Unsupported("descriptors other than 1 and 2")),
            })
        } else {
            let name = self.word()?;
            if name.is_empty() {
                return Err(self.unexpected());
            }
            let append = operator.ends_with(">>");
            Target::File { name, append }
        };
        Ok(Some(Redirect { from, to }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The number of words in each command of `script`, of pipelines in each group.
    fn lengths(script: &str) -> Vec<usize> {
        let length = |stage: &Stage| match &stage.body {
            Body::Command(words) => words.len(),
            Body::Group(list) => list.0.len(),
        };
        let list = parse(script).unwrap();
        let stages = list.0.iter().flat_map(|(_, pipeline)| &pipeline.stages);
        stages.map(length).collect()
    }

    #[test]
    fn quotes_keep_blanks_and_operators_in_one_word() {
        assert_eq!(lengths("echo 'a; b' \"c | d\" e\\ f"), [4]);
        assert_eq!(
            lengths("sh -c 'df -h / && echo $?' 2>&1 | head -n 3 > /dev/null"),
            [3, 3]
        );
        assert_eq!(
            lengths("(cd /var; ls) || { true; }; x=$(ls | wc -l)"),
            [2, 1, 1]
        );
    }

    #[test]
    fn an_unsupported_or_incomplete_script_is_refused() {
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
        fn no_sequence_of_operators_panics_the_parser(script in r#"[;&|<>(){}$'"\\#! a2*é]{0,60}"#) {
            let _ = parse(&script);
        }

        #[test]
        fn depth_is_bounded(depth in 9usize..2000) {
            prop_assert!(parse(&"(".repeat(depth)).is_err());
            prop_assert!(parse(&"$(".repeat(depth)).is_err());
        }
    }
}
