/// What a file holds. Large files are not kept: they are a line and a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// A small file, word for word.
    Text(String),
    /// A log of `size` bytes that repeats `line`.
    Log {
        /// The repeated line, without its newline.
        line: &'static str,
        /// Bytes.
        size: u64,
    },
    /// Bytes that nobody prints.
    Binary {
        /// Bytes.
        size: u64,
    },
}

impl Content {
    /// Bytes in the file.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Content::Text(text) => text.len() as u64,
            Content::Log { size, .. } | Content::Binary { size } => *size,
        }
    }

    /// At most `limit` bytes from the beginning, as a reader would print them.
    pub(crate) fn read(&self, limit: usize) -> String {
        match self {
            Content::Text(text) => cut(text, limit).to_owned(),
            Content::Log { line, size } => {
                let bytes = limit.min(usize::try_from(*size).unwrap_or(usize::MAX));
                repeat(line, bytes)
            }
            Content::Binary { size } => {
                "\0".repeat(limit.min(usize::try_from(*size).unwrap_or(64)).min(64))
            }
        }
    }

    /// The last `count` lines, at most `limit` bytes of them.
    pub(crate) fn last_lines(&self, count: usize, limit: usize) -> String {
        match self {
            Content::Log { line, size } => {
                let whole = usize::try_from(*size).unwrap_or(usize::MAX) / (line.len() + 1);
                let lines = count.min(whole).min(limit / (line.len() + 1));
                format!("{line}\n").repeat(lines)
            }
            _ => tail(&self.read(limit), count),
        }
    }

    /// Makes the file exactly `size` bytes long.
    pub(crate) fn resize(&mut self, size: u64) {
        match self {
            Content::Text(text) if size <= text.len() as u64 => {
                let keep = cut(text, usize::try_from(size).unwrap_or(0)).len();
                text.truncate(keep);
            }
            Content::Text(_) => *self = Content::Binary { size },
            Content::Log { .. } | Content::Binary { .. } if size == 0 => {
                *self = Content::Text(String::new());
            }
            Content::Log { size: now, .. } | Content::Binary { size: now } => *now = size,
        }
    }
}

/// The last `count` lines of `text`, with their newlines.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines[lines.len().saturating_sub(count)..].concat()
}

/// At most `limit` bytes of `text`, never through a character.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn repeat(line: &str, bytes: usize) -> String {
    let mut text = format!("{line}\n").repeat(bytes / (line.len() + 1) + 1);
    let keep = cut(&text, bytes).len();
    text.truncate(keep);
    text
}
