use std::io::Write;

/// Receives a verb's output, line by line, while the verb runs.
///
/// No method can fail: the reader is a phone that may lose its signal in the middle of a cycle, and
/// a verb that stopped there would leave the guest off.
pub trait Output {
    /// One line of progress, or the verdict, without a line end.
    fn line(&mut self, text: &str);
    /// One line about a failure or refusal.
    fn error(&mut self, text: &str);
    /// A picture, instead of lines.
    fn picture(&mut self, bytes: &[u8]);
}

/// The process's stdout and stderr.
#[derive(Debug, Clone, Copy, Default)]
pub struct Streams;

impl Output for Streams {
    fn line(&mut self, text: &str) {
        // Rust ignores SIGPIPE, so a reader that is gone causes an error value, which is dropped.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    fn error(&mut self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    fn picture(&mut self, bytes: &[u8]) {
        let mut stdout = std::io::stdout();
        let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
    }
}
