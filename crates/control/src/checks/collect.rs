use std::collections::VecDeque;

use breakglass_journal::OutputStream;

/// Lines that are kept of each stream: the last ones, for a log tells its newest at the end.
const LINES: usize = 2000;
const ERROR_LINES: usize = 20;

/// What a command printed, within bounds.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) stdout: VecDeque<String>,
    pub(super) stderr: VecDeque<String>,
}

impl Collected {
    pub(super) fn take(&mut self, stream: OutputStream, line: &str) {
        let (lines, room) = match stream {
            OutputStream::Stdout => (&mut self.stdout, LINES),
            OutputStream::Stderr => (&mut self.stderr, ERROR_LINES),
        };
        if lines.len() == room {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    /// The last lines of both streams, as evidence.
    pub(super) fn everything(&self) -> Vec<String> {
        let skip = self.stdout.len().saturating_sub(ERROR_LINES);
        self.stdout
            .iter()
            .skip(skip)
            .chain(&self.stderr)
            .cloned()
            .collect()
    }
}
