//! Commands for an account whose login shell is not known.
//!
//! sshd hands a command to the account's login shell: sh, fish, csh, or a program that runs nothing.
//! Profiles print before it. So a command is handed on to `sh` in words that all shells read alike,
//! and what it prints stands between two marks that no other output has:
//!
//! ```text
//!   Welcome to devvm!                        noise
//!   breakglass-0192… begins
//!   …                                        the answer
//!   breakglass-0192… ends 0
//! ```

use std::collections::VecDeque;

use breakglass_model::OutputStream;
use uuid::Uuid;

/// Lines kept of the answer: the last ones, for a log tells its newest at the end.
const LINES: usize = 2000;
/// Lines kept of standard error, and of what else was printed.
const FEW: usize = 20;

/// Commands for a POSIX shell that all login shells hand on unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script(&'static str);

impl Script {
    /// `text` is one line of printable ASCII. It holds no `'`, which would end the quotes around it;
    /// no `!`, which csh looks up in its history even between quotes; and no `\`, which fish reads there.
    ///
    /// # Panics
    /// While the program is compiled, where `text` is not so: use it in constants only.
    #[must_use]
    pub const fn new(text: &'static str) -> Script {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            let is_plain = byte >= b' ' && byte <= b'~';
            assert!(is_plain && byte != b'\'' && byte != b'!' && byte != b'\\');
            at += 1;
        }
        Script(text)
    }

    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// One command with its marks, and what was heard of it.
#[derive(Debug, Clone)]
pub struct Framed {
    mark: String,
    /// For standard output and standard error: whether its begin was seen, and its end.
    begun: [bool; 2],
    ended: [bool; 2],
    code: Option<u32>,
    /// The last lines of the answer.
    pub stdout: VecDeque<String>,
    /// The last lines that it complained.
    pub stderr: VecDeque<String>,
    /// The first lines outside the marks.
    pub noise: Vec<String>,
}

impl Default for Framed {
    fn default() -> Framed {
        Framed {
            mark: format!("breakglass-{}", Uuid::now_v7().simple()),
            begun: [false; 2],
            ended: [false; 2],
            code: None,
            stdout: VecDeque::new(),
            stderr: VecDeque::new(),
            noise: Vec::new(),
        }
    }
}

impl Framed {
    /// What the login shell is given.
    #[must_use]
    pub fn command(&self, script: Script) -> String {
        let (script, mark) = (script.as_str(), &self.mark);
        format!(
            "exec sh -c 'echo \"$0 begins\"; echo \"$0 begins\" >&2; {{ {script}; }}; code=$?; echo; \
             echo \"$0 ends $code\"; echo >&2; echo \"$0 ends $code\" >&2' {mark}"
        )
    }

    /// Takes one line.
    pub fn hear(&mut self, stream: OutputStream, line: &str) {
        let index = usize::from(stream == OutputStream::Stderr);
        let what = line.strip_prefix(self.mark.as_str());
        if what == Some(" begins") {
            self.begun[index] = true;
        } else if !self.begun[index] || self.ended[index] {
            keep(&mut self.noise, line);
        } else if let Some(code) = what.and_then(|what| what.strip_prefix(" ends ")) {
            self.end(index, code);
        } else {
            self.answer(index, line);
        }
    }

    fn answer(&mut self, index: usize, line: &str) {
        let (lines, room) = match index {
            0 => (&mut self.stdout, LINES),
            _ => (&mut self.stderr, FEW),
        };
        if lines.len() == room {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    fn end(&mut self, index: usize, code: &str) {
        let Ok(code) = code.parse() else { return };
        self.ended[index] = true;
        let lines = match index {
            0 => &mut self.stdout,
            _ => &mut self.stderr,
        };
        // The mark has a line of its own even where the answer ends without a line's end.
        if lines.back().is_some_and(String::is_empty) {
            lines.pop_back();
        }
        self.code = Some(code);
    }

    /// Whether all of it was heard.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended == [true; 2]
    }

    /// The exit code between the marks; none where the answer is not whole.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        self.code.filter(|_| self.ended[0])
    }

    /// Whether the command was begun at all.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun[0]
    }

    /// Why there is no whole answer, by what came in its place; `exit` is the login shell's code.
    #[must_use]
    pub fn instead(&self, exit: Option<u32>) -> String {
        let how = exit.map_or("no exit code".to_owned(), |code| {
            format!("exit code {code}")
        });
        if self.has_begun() {
            return format!("the command was ended before it was done ({how})");
        }
        match self.noise.last() {
            Some(said) => format!("the login shell gave no answer: {said} ({how})"),
            None => format!("the login shell gave no answer and said nothing ({how})"),
        }
    }
}

fn keep(noise: &mut Vec<String>, line: &str) {
    if noise.len() < FEW && !line.trim().is_empty() {
        noise.push(line.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[(OutputStream, &str)]) -> Framed {
        let mut framed = Framed::default();
        for (stream, line) in lines {
            let line = line.replace("MARK", &framed.mark);
            framed.hear(*stream, &line);
        }
        framed
    }

    #[test]
    fn only_what_stands_between_the_marks_counts() {
        use OutputStream::{Stderr, Stdout};
        let framed = heard(&[
            (Stdout, "Welcome to devvm"),
            (Stderr, "motd: hello"),
            (Stdout, "MARK begins"),
            (Stderr, "MARK begins"),
            (Stdout, "one"),
            (Stdout, ""),
            (Stdout, "a MARK ends 7"),
            (Stderr, "a complaint"),
            (Stdout, ""),
            (Stdout, "MARK ends 3"),
            (Stderr, "a late complaint"),
            (Stderr, ""),
            (Stderr, "MARK ends 3"),
            (Stdout, "Goodbye"),
        ]);
        let wanted = ["one", "", &format!("a {} ends 7", framed.mark)];
        assert_eq!(framed.stdout, wanted);
        assert_eq!(framed.stderr, ["a complaint", "a late complaint"]);
        assert_eq!(framed.noise, ["Welcome to devvm", "motd: hello", "Goodbye"]);
        assert_eq!((framed.code(), framed.is_over()), (Some(3), true));
    }

    #[test]
    fn an_answer_without_its_marks_is_none_and_what_came_instead_is_named() {
        use OutputStream::Stdout;
        let closed = heard(&[(Stdout, "This account is currently not available.")]);
        assert_eq!(closed.code(), None);
        assert_eq!(
            closed.instead(Some(1)),
            "the login shell gave no answer: This account is currently not available. (exit code 1)"
        );
        let silent = heard(&[]).instead(None);
        assert_eq!(
            silent,
            "the login shell gave no answer and said nothing (no exit code)"
        );
        let cut = heard(&[(Stdout, "MARK begins"), (Stdout, "half")]).instead(Some(137));
        assert_eq!(
            cut,
            "the command was ended before it was done (exit code 137)"
        );
    }

    #[test]
    fn marks_of_another_command_and_a_code_that_is_none_are_no_end() {
        let other = Framed::default().mark;
        let mut framed = heard(&[(OutputStream::Stdout, "MARK begins")]);
        framed.hear(OutputStream::Stdout, &format!("{other} ends 0"));
        assert_eq!(framed.code(), None);
        let soon = format!("{} ends soon", framed.mark);
        framed.hear(OutputStream::Stdout, &soon);
        assert_eq!(framed.code(), None);
    }
}
