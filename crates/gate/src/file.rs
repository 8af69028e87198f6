//! File access that can neither hang nor flood the gate: each read has a timeout and a maximum size,
//! and only regular files are opened (no device, pipe or directory).
//!
//! A file counts as missing only if the kernel reports that it does not exist. Every other obstacle
//! is an error, so that an unreadable file is never mistaken for a missing one.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

use crate::deadline::with_timeout;

/// Maximum size of a text: larger than any file that the gate relies on.
const TEXT_MAX_BYTES: u64 = 512 * 1024;
/// The error if a process ends between the open and the read of its file in `/proc`.
const PROCESS_GONE: i32 = rustix::io::Errno::SRCH.raw_os_error();

/// Which part of a file to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All of it. A file above the maximum size is an error.
    Whole,
    /// The last bytes, up to the maximum size.
    Tail,
}

/// A whole text file; none if it does not exist.
///
/// # Errors
/// Begins with the path: why the file can't be read, or that there was no answer in time.
pub(crate) fn text(path: &Path, timeout: Duration) -> Result<Option<String>, String> {
    let bytes = read_within(path, Part::Whole, TEXT_MAX_BYTES, timeout)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The end of a text file.
///
/// # Errors
/// As [`text`], and if the file does not exist.
pub(crate) fn tail(path: &Path, timeout: Duration) -> Result<String, String> {
    let bytes = read_within(path, Part::Tail, TEXT_MAX_BYTES, timeout)?;
    let bytes = bytes.ok_or_else(|| missing(path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A whole file of at most `max_bytes`.
///
/// # Errors
/// As [`text`], and if the file does not exist.
pub(crate) fn bytes(path: &Path, max_bytes: u64, timeout: Duration) -> Result<Vec<u8>, String> {
    read_within(path, Part::Whole, max_bytes, timeout)?.ok_or_else(|| missing(path))
}

fn missing(path: &Path) -> String {
    format!("{}: there is no such file", path.display())
}

fn read_within(
    path: &Path,
    part: Part,
    max_bytes: u64,
    timeout: Duration,
) -> Result<Option<Vec<u8>>, String> {
    let name = path.display().to_string();
    let path = path.to_owned();
    let what = name.clone();
    with_timeout(timeout, &what, move || match read(&path, part, max_bytes) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_missing(&error) && fs::symlink_metadata(&path).is_err() => Ok(None),
        Err(error) if is_missing(&error) => Err(format!("{name}: a link to a missing file")),
        Err(error) => Err(format!("{name}: {error}")),
    })
}

/// Appends `line` to the file at `path`, which is created with mode 0600 if it does not exist. In
/// one write, so that the lines of two gates don't mix. Without sync, which a stuck disk would delay.
///
/// # Errors
/// As [`text`].
pub(crate) fn append(path: &Path, line: String, timeout: Duration) -> Result<(), String> {
    let name = path.display().to_string();
    let path = path.to_owned();
    let what = name.clone();
    let append = move || -> io::Result<()> {
        if let Ok(meta) = fs::metadata(&path) {
            check(&meta)?;
        }
        let mut options = File::options();
        options.append(true).create(true).mode(0o600);
        let mut file = options.custom_flags(flags()).open(&path)?;
        check(&file.metadata()?)?;
        file.write_all(line.as_bytes())
    };
    with_timeout(timeout, &what, move || {
        append().map_err(|error| format!("{name}: {error}"))
    })
}

/// Opens a regular file for reading, without waiting for a writer.
///
/// # Errors
/// Those of the kernel, and if it is not a regular file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Checked before the open, because opening a device can have effects.
    check(&fs::metadata(path)?)?;
    let mut options = File::options();
    let file = options.read(true).custom_flags(flags()).open(path)?;
    // Checked again, because the file may have been replaced meanwhile.
    check(&file.metadata()?)?;
    Ok(file)
}

fn read(path: &Path, part: Part, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    if part == Part::Tail && file.metadata()?.len() > max_bytes {
        file.seek(SeekFrom::End(-i64::try_from(max_bytes).unwrap_or(0)))?;
    }
    let mut bytes = Vec::new();
    // Read one byte more instead of relying on the size, which is 0 for the kernel's own files.
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    let max = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    if part == Part::Whole && bytes.len() > max {
        let why = format!("larger than {max_bytes} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, why));
    }
    bytes.truncate(max);
    Ok(bytes)
}

fn flags() -> i32 {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    i32::try_from(flags.bits()).unwrap_or_default()
}

fn check(meta: &Metadata) -> io::Result<()> {
    let kind = meta.file_type();
    let what = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    let why = format!("{what}, not a file");
    Err(io::Error::new(ErrorKind::InvalidInput, why))
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(PROCESS_GONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    const TIMEOUT: Duration = Duration::from_secs(20);

    #[test]
    fn only_a_missing_file_is_none_and_everything_else_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "4711\n").unwrap();
        fs::write(at("large"), vec![b'7'; 600 * 1024]).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status();
        assert!(made.unwrap().success());
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for (link, to) in [
            ("zero", "/dev/zero"),
            ("loop", "loop"),
            ("nowhere", "absent"),
            ("link", "file"),
        ] {
            symlink(to, at(link)).unwrap();
        }
        let file = Some("4711\n".to_owned());
        assert_eq!(text(&at("file"), TIMEOUT), Ok(file.clone()));
        assert_eq!(text(&at("link"), TIMEOUT), Ok(file));
        assert_eq!(text(&at("none"), TIMEOUT), Ok(None));
        assert_eq!(text(&at("none/pid"), TIMEOUT), Ok(None));
        for (name, why) in [
            ("pipe", "a pipe, not a file"),
            ("socket", "a socket, not a file"),
            ("zero", "a device, not a file"),
            ("", "a directory, not a file"),
            ("large", "larger than 524288 bytes"),
            ("nowhere", "a link to a missing file"),
            ("loop", "Too many levels of symbolic links (os error 40)"),
            ("file/pid", "Not a directory (os error 20)"),
        ] {
            let error = format!("{}: {why}", at(name).display());
            assert_eq!(text(&at(name), TIMEOUT), Err(error));
        }
    }

    #[test]
    fn tail_of_a_log_is_read_and_a_whole_file_of_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, format!("{}end", "x".repeat(600 * 1024))).unwrap();
        let read = tail(&log, TIMEOUT).unwrap();
        assert!(read.ends_with("xend"));
        assert_eq!(read.len(), usize::try_from(TEXT_MAX_BYTES).unwrap());
        let stat = text(Path::new("/proc/self/stat"), TIMEOUT)
            .unwrap()
            .unwrap();
        assert!(stat.contains(") "), "{stat}");
    }

    #[test]
    fn nothing_is_appended_to_a_device() {
        let dir = tempfile::tempdir().unwrap();
        let (log, zero) = (dir.path().join("log"), dir.path().join("zero"));
        for line in ["a\n", "b\n"] {
            append(&log, line.to_owned(), TIMEOUT).unwrap();
        }
        assert_eq!(fs::read_to_string(&log).unwrap(), "a\nb\n");
        symlink("/dev/zero", &zero).unwrap();
        let error = append(&zero, "c\n".to_owned(), TIMEOUT).unwrap_err();
        assert!(error.ends_with("a device, not a file"), "{error}");
    }
}
