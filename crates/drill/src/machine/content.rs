/// The content of a file: `text`, repeated up to `size` bytes. So a large log is one line and a size.
/// Without a text it is binary, and no program prints it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Content {
    text: String,
    size: u64,
}

impl Content {
    pub(crate) fn text(text: impl Into<String>) -> Content {
        let text = text.into();
        let size = text.len() as u64;
        Content { text, size }
    }

    /// A log of `size` bytes that repeats `line`, which has no newline.
    pub(crate) fn log(line: &str, size: u64) -> Content {
        let text = format!("{line}\n");
        Content { text, size }
    }

    pub(crate) fn binary(size: u64) -> Content {
        let text = String::new();
        Content { text, size }
    }

    /// Bytes in the file.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// At most `limit` bytes of the file; whole lines of a log.
    pub(crate) fn read(&self, limit: usize) -> String {
        let bytes = limit.min(usize::try_from(self.size).unwrap_or(usize::MAX));
        match bytes.checked_div(self.text.len()) {
            Some(count @ 1..) => self.text.repeat(count),
            _ => cut(&self.text, bytes).to_owned(),
        }
    }

    /// Makes the file exactly `size` bytes long.
    pub(crate) fn resize(&mut self, size: u64) {
        let bytes = usize::try_from(size).unwrap_or(usize::MAX);
        if size > self.size {
            *self = Content::binary(size);
        } else if bytes < self.text.len() {
            *self = Content::text(cut(&self.text, bytes));
        } else {
            self.size = size;
        }
    }
}

/// The last `count` lines of `text`, with their newlines.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines[lines.len().saturating_sub(count)..].concat()
}

/// At most `limit` bytes of `text`, cut between characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}
