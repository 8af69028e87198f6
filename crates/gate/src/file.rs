//! Files, read so that whatever lies at a path can neither hang nor flood the gate: each read has a
//! deadline and a bound, and what is no regular file (a device, a pipe, a directory) is not opened.
//!
//! Only what the kernel says is not there counts as absent. Everything else that stands between the
//! gate and the content is an error, so that a file that can't be read is never taken for none.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

use crate::child::within;

/// Bytes that are read of a text: more than any file that the gate believes has.
pub(crate) const LARGEST: u64 = 512 * 1024;
/// The process ended between open and read of its file in `/proc`.
const GONE: i32 = rustix::io::Errno::SRCH.raw_os_error();

/// How much of a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: one that is larger than the bound is an error.
    Whole,
    /// The last bytes up to the bound, of a log.
    End,
}

/// At most `most` bytes of the file at `path`, or that there is none.
///
/// # Errors
/// A sentence that begins with the path: why it can't be read, or that there was no answer in time.
/// The thread that waits for it is then left to itself.
pub(crate) fn find(
    path: &Path,
    part: Part,
    most: u64,
    limit: Duration,
) -> Result<Option<Vec<u8>>, String> {
    let (name, path) = (path.display().to_string(), path.to_owned());
    let named = name.clone();
    within(limit, &name, move || match read(&path, part, most) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_absent(&error) && fs::symlink_metadata(&path).is_err() => Ok(None),
        Err(error) if is_absent(&error) => Err(format!("{named}: a link that leads nowhere")),
        Err(error) => Err(format!("{named}: {error}")),
    })
}

/// The whole of a text file, or that there is none.
///
/// # Errors
/// As [`find`].
pub(crate) fn text(path: &Path, limit: Duration) -> Result<Option<String>, String> {
    let found = find(path, Part::Whole, LARGEST, limit)?;
    Ok(found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The end of a text file that has to be there.
///
/// # Errors
/// As [`find`], and that it is not there.
pub(crate) fn end(path: &Path, limit: Duration) -> Result<String, String> {
    let bytes = find(path, Part::End, LARGEST, limit)?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    bytes.map(text).ok_or_else(|| absent(path))
}

/// The whole of a file of at most `most` bytes that has to be there.
///
/// # Errors
/// As [`find`], and that it is not there.
pub(crate) fn bytes(path: &Path, most: u64, limit: Duration) -> Result<Vec<u8>, String> {
    find(path, Part::Whole, most, limit)?.ok_or_else(|| absent(path))
}

fn absent(path: &Path) -> String {
    format!("{}: there is no such file", path.display())
}

/// Appends `line` to the file at `path`, made for its owner's eyes alone where it is not there. One
/// write, so that the lines of two gates don't mix. No sync: a disk that is stuck would hold it up.
///
/// # Errors
/// A sentence, as [`find`].
pub(crate) fn append(path: &Path, line: String, limit: Duration) -> Result<(), String> {
    let (name, path) = (path.display().to_string(), path.to_owned());
    let named = name.clone();
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
    within(limit, &name, move || {
        append().map_err(|error| format!("{named}: {error}"))
    })
}

/// Opens a regular file for reading; never waits for a writer, and opens no device.
///
/// # Errors
/// Those of the kernel, and what it is instead of a regular file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Looked at first: some devices do something when they are opened.
    check(&fs::metadata(path)?)?;
    let mut options = File::options();
    let file = options.read(true).custom_flags(flags()).open(path)?;
    // It may be another one by now.
    check(&file.metadata()?)?;
    Ok(file)
}

fn read(path: &Path, part: Part, most: u64) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    if part == Part::End && file.metadata()?.len() > most {
        file.seek(SeekFrom::End(-i64::try_from(most).unwrap_or(0)))?;
    }
    let mut bytes = Vec::new();
    // The kernel says 0 of the size of its own files.
    file.take(most + 1).read_to_end(&mut bytes)?;
    let is_more = u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most;
    match part {
        Part::Whole if is_more => {
            let why = format!("larger than {most} bytes");
            Err(io::Error::new(ErrorKind::FileTooLarge, why))
        }
        _ => {
            bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
            Ok(bytes)
        }
    }
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

fn is_absent(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(GONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn only_what_is_not_there_is_absent_and_everything_else_says_what_it_is() {
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
        assert_eq!(text(&at("file"), LIMIT), Ok(file.clone()));
        assert_eq!(text(&at("link"), LIMIT), Ok(file));
        assert_eq!(text(&at("none"), LIMIT), Ok(None));
        assert_eq!(text(&at("none/pid"), LIMIT), Ok(None));
        for (name, why) in [
            ("pipe", "a pipe, not a file"),
            ("socket", "a socket, not a file"),
            ("zero", "a device, not a file"),
            ("", "a directory, not a file"),
            ("large", "larger than 524288 bytes"),
            ("nowhere", "a link that leads nowhere"),
            ("loop", "Too many levels of symbolic links (os error 40)"),
            ("file/pid", "Not a directory (os error 20)"),
        ] {
            let told = format!("{}: {why}", at(name).display());
            assert_eq!(text(&at(name), LIMIT), Err(told));
        }
    }

    #[test]
    fn of_a_log_the_end_is_read_and_of_the_kernels_files_everything() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, format!("{}end", "x".repeat(600 * 1024))).unwrap();
        let read = end(&log, LIMIT).unwrap();
        assert!(read.ends_with("xend"));
        assert_eq!(read.len(), usize::try_from(LARGEST).unwrap());
        let stat = text(Path::new("/proc/self/stat"), LIMIT).unwrap().unwrap();
        assert!(stat.contains(") "), "{stat}");
    }

    #[test]
    fn nothing_is_appended_to_what_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let (log, zero) = (dir.path().join("log"), dir.path().join("zero"));
        for line in ["a\n", "b\n"] {
            append(&log, line.to_owned(), LIMIT).unwrap();
        }
        assert_eq!(fs::read_to_string(&log).unwrap(), "a\nb\n");
        symlink("/dev/zero", &zero).unwrap();
        let told = append(&zero, "c\n".to_owned(), LIMIT).unwrap_err();
        assert!(told.ends_with("a device, not a file"), "{told}");
    }
}
