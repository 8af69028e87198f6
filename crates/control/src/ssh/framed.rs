//! Runs commands for an account whose login shell is unknown.
//!
//! sshd passes a command to the account's login shell: sh, fish, csh, or a program that runs nothing.
//! Profiles print before it. So the command is passed on to `sh` in words that all shells read alike, and its
//! output is between two markers that no other output contains:
//!
//! ```text
//!   Welcome to devvm!                        noise
//!   breakglass-0192… begins
//!   …                                        the command's output
//!   breakglass-0192… ends 0
//! ```

use std::collections::VecDeque;
use std::ops::ControlFlow;

use breakglass_model::OutputStream;
use uuid::Uuid;

use crate::lines::OutputLines;

/// Maximum lines kept of standard output: the last ones, since a log has its newest lines at the end.
const STDOUT_MAX_LINES: usize = 2000;
/// Maximum lines kept of standard error: the last ones.
const STDERR_MAX_LINES: usize = 20;
/// Maximum lines kept of the noise outside the markers: the first ones.
const NOISE_MAX_LINES: usize = 20;

/// Commands for a POSIX shell that all login shells pass on unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script(&'static str);

impl Script {
    /// `text` is one line of printable ASCII. It contains no `'`, which would end the quotes around it;
    /// no `!`, which csh looks up in its history even inside quotes; and no `\`, which fish interprets there.
    ///
    /// # Panics
    /// At compile time, if `text` breaks these rules: use it in constants only.
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

/// One stream's output between the markers.
#[derive(Debug, Clone, Default)]
struct Section {
    has_started: bool,
    has_ended: bool,
    lines: VecDeque<String>,
}

impl Section {
    fn push(&mut self, line: &str, max_lines: usize) {
        if self.lines.len() == max_lines {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
    }

    fn end(&mut self) {
        self.has_ended = true;
        // The end marker always starts a new line, which leaves an empty one before it.
        if self.lines.back().is_some_and(String::is_empty) {
            self.lines.pop_back();
        }
    }
}

/// One command with its markers, and its output so far.
#[derive(Debug)]
pub struct Framed {
    marker: String,
    unread: OutputLines,
    stdout: Section,
    stderr: Section,
    code: Option<u32>,
    noise: Vec<String>,
}

impl Default for Framed {
    fn default() -> Framed {
        Framed {
            marker: format!("breakglass-{}", Uuid::now_v7().simple()),
            unread: OutputLines::default(),
            stdout: Section::default(),
            stderr: Section::default(),
            code: None,
            noise: Vec::new(),
        }
    }
}

impl Framed {
    /// The command line for the login shell.
    #[must_use]
    pub fn command(&self, script: Script) -> String {
        let script = script.as_str();
        let marker = &self.marker;
        format!(
            "exec sh -c 'echo \"$0 begins\"; echo \"$0 begins\" >&2; {{ {script}; }}; code=$?; echo; \
             echo \"$0 ends $code\"; echo >&2; echo \"$0 ends $code\" >&2' {marker}"
        )
    }

    /// Adds output; breaks once both end markers have been read.
    pub(crate) fn push(&mut self, stream: OutputStream, bytes: &[u8]) -> ControlFlow<()> {
        let mut unread = std::mem::take(&mut self.unread);
        unread.push(stream, bytes, |stream, line| self.add_line(stream, line));
        self.unread = unread;
        if self.is_complete() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Adds what was printed without a line end; call it when the output has ended.
    pub(crate) fn finish(&mut self) {
        let mut unread = std::mem::take(&mut self.unread);
        unread.finish(|stream, line| self.add_line(stream, line));
    }

    /// Adds one line of output.
    pub fn add_line(&mut self, stream: OutputStream, line: &str) {
        let (section, max_lines) = match stream {
            OutputStream::Stdout => (&mut self.stdout, STDOUT_MAX_LINES),
            OutputStream::Stderr => (&mut self.stderr, STDERR_MAX_LINES),
        };
        let after_marker = line.strip_prefix(self.marker.as_str());
        if after_marker == Some(" begins") {
            section.has_started = true;
        } else if !section.has_started || section.has_ended {
            if self.noise.len() < NOISE_MAX_LINES && !line.trim().is_empty() {
                self.noise.push(line.to_owned());
            }
        } else if let Some(code) = after_marker.and_then(|text| text.strip_prefix(" ends ")) {
            let Ok(code) = code.parse() else { return };
            section.end();
            self.code = Some(code);
        } else {
            section.push(line, max_lines);
        }
    }

    /// The last lines of standard output between the markers.
    #[must_use]
    pub fn stdout(&self) -> &VecDeque<String> {
        &self.stdout.lines
    }

    /// The last lines of standard error between the markers.
    #[must_use]
    pub fn stderr(&self) -> &VecDeque<String> {
        &self.stderr.lines
    }

    /// The first lines outside the markers.
    #[must_use]
    pub fn noise(&self) -> &[String] {
        &self.noise
    }

    /// Whether both streams have ended.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.stdout.has_ended && self.stderr.has_ended
    }

    /// The command's exit code; `None` if its output is incomplete.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        self.code.filter(|_| self.stdout.has_ended)
    }

    /// Whether the command was started at all.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.stdout.has_started
    }

    /// Why the output is incomplete, as part of a sentence; `exit` is the login shell's exit code.
    #[must_use]
    pub fn failure_reason(&self, exit: Option<u32>) -> String {
        let exit = exit.map_or("no exit code".to_owned(), |code| {
            format!("exit code {code}")
        });
        if self.has_started() {
            return format!("the command ended before it was complete ({exit})");
        }
        match self.noise.last() {
            Some(line) => format!("the login shell did not run the command: {line} ({exit})"),
            None => format!("the login shell did not run the command and printed nothing ({exit})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(lines: &[(OutputStream, &str)]) -> Framed {
        let mut framed = Framed::default();
        for (stream, line) in lines {
            let line = line.replace("MARKER", &framed.marker);
            framed.add_line(*stream, &line);
        }
        framed
    }

    #[test]
    fn only_lines_between_the_markers_are_output() {
        use OutputStream::{Stderr, Stdout};
        let output = framed(&[
            (Stdout, "Welcome to devvm"),
            (Stderr, "motd: hello"),
            (Stdout, "MARKER begins"),
            (Stderr, "MARKER begins"),
            (Stdout, "one"),
            (Stdout, ""),
            (Stdout, "a MARKER ends 7"),
            (Stderr, "a complaint"),
            (Stdout, ""),
            (Stdout, "MARKER ends 3"),
            (Stderr, "a late complaint"),
            (Stderr, ""),
            (Stderr, "MARKER ends 3"),
            (Stdout, "Goodbye"),
        ]);
        let wanted = ["one", "", &format!("a {} ends 7", output.marker)];
        assert_eq!(*output.stdout(), wanted);
        assert_eq!(*output.stderr(), ["a complaint", "a late complaint"]);
        assert_eq!(
            *output.noise(),
            ["Welcome to devvm", "motd: hello", "Goodbye"]
        );
        assert_eq!((output.code(), output.is_complete()), (Some(3), true));
    }

    #[test]
    fn incomplete_output_has_no_code_and_names_the_reason() {
        use OutputStream::Stdout;
        let closed = framed(&[(Stdout, "This account is currently not available.")]);
        assert_eq!(closed.code(), None);
        assert_eq!(
            closed.failure_reason(Some(1)),
            "the login shell did not run the command: This account is currently not available. (exit code 1)"
        );
        let silent = framed(&[]).failure_reason(None);
        assert_eq!(
            silent,
            "the login shell did not run the command and printed nothing (no exit code)"
        );
        let cut = framed(&[(Stdout, "MARKER begins"), (Stdout, "half")]).failure_reason(Some(137));
        assert_eq!(
            cut,
            "the command ended before it was complete (exit code 137)"
        );
    }

    #[test]
    fn markers_of_another_command_and_invalid_codes_do_not_end_the_output() {
        let other = Framed::default().marker;
        let mut framed = framed(&[(OutputStream::Stdout, "MARKER begins")]);
        framed.add_line(OutputStream::Stdout, &format!("{other} ends 0"));
        assert_eq!(framed.code(), None);
        let soon = format!("{} ends soon", framed.marker);
        framed.add_line(OutputStream::Stdout, &soon);
        assert_eq!(framed.code(), None);
    }
}
