use std::io::Write;

/// Where a verb tells what it does, line by line as it happens.
///
/// Nothing here can fail: the reader is a phone that may lose its signal in the middle of a cycle,
/// and a verb that stopped there would leave the guest off.
pub trait Output {
    /// One line of progress, or the verdict. Without its line end.
    fn line(&mut self, text: &str);
    /// One line about what went wrong or was refused.
    fn error(&mut self, text: &str);
    /// A picture, in place of lines.
    fn picture(&mut self, bytes: &[u8]);
}

/// The process's own stdout and stderr.
#[derive(Debug, Clone, Copy, Default)]
pub struct Streams;

impl Output for Streams {
    fn line(&mut self, text: &str) {
        // Rust ignores SIGPIPE, so a vanished reader is an error value here, and dropped.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    fn error(&mut self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    fn picture(&mut self, bytes: &[u8]) {
        let _ = std::io::stdout()
            .write_all(bytes)
            .and_then(|()| std::io::stdout().flush());
    }
}
