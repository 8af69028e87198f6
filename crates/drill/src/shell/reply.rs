use std::fmt::Display;
use std::time::Duration;

use crate::machine::cut;

/// Maximum bytes that one command may print on each stream.
pub(super) const OUTPUT_MAX_BYTES: usize = 256 * 1024;
const DURATION_MAX: Duration = Duration::from_secs(3_600);

/// The result of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: u8,
    /// How long the command runs before it exits.
    pub(crate) duration: Duration,
}

impl Reply {
    /// Success, with output.
    pub(super) fn out(text: impl Into<String>) -> Reply {
        let out = text.into();
        Reply {
            out,
            ..Reply::default()
        }
    }

    /// No output, only an exit code.
    pub(super) fn code(code: impl Into<u8>) -> Reply {
        Reply::default().with_code(code)
    }

    /// Failure, with one line on standard error.
    pub(super) fn fail(code: u8, message: impl Display) -> Reply {
        let mut reply = Reply::code(code);
        reply.err = format!("{message}\n");
        reply
    }

    pub(super) fn with_code(self, code: impl Into<u8>) -> Reply {
        let code = code.into();
        Reply { code, ..self }
    }

    pub(super) fn with_duration(self, duration: Duration) -> Reply {
        Reply { duration, ..self }
    }

    /// Lets the command run until its client stops it, if `follows`.
    pub(super) fn endless_if(mut self, follows: bool) -> Reply {
        if follows {
            self.duration = Duration::MAX;
        }
        self
    }

    /// Replaces the exit code of a failure.
    pub(super) fn or_code(mut self, code: u8) -> Reply {
        if self.code != 0 {
            self.code = code;
        }
        self
    }

    /// Adds the output of a part of the command, or its error message.
    pub(super) fn add(&mut self, part: Result<String, String>) {
        match part {
            Ok(text) => self.out.push_str(&text),
            Err(message) => {
                self.err.push_str(&format!("{message}\n"));
                self.code = 1;
            }
        }
    }

    /// Adds what ran next: both streams and the time, and its exit code instead of this one.
    pub(super) fn then(&mut self, next: &Reply) {
        self.out.push_str(&next.out);
        self.err.push_str(&next.err);
        self.duration = self.duration.saturating_add(next.duration);
        self.code = next.code;
        self.limit();
    }

    /// Cuts output and duration to their maximum.
    pub(super) fn limit(&mut self) {
        for text in [&mut self.out, &mut self.err] {
            let end = cut(text, OUTPUT_MAX_BYTES).len();
            text.truncate(end);
        }
        self.duration = self.duration.min(DURATION_MAX);
    }
}
