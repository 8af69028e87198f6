//! The SQLite file: its location, format, tables and settings.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use uuid::Uuid;

use super::IncidentNumbers;

/// SQLite's `application_id`: `BGJL`, so that another program's database is never taken for a log.
const APPLICATION_ID: i64 = 0x4247_4a4c;
const FORMAT: i64 = 2;
const PAGE_BYTES: u64 = 8192;
/// SQLite's busy timeout: shorter than [`Log::record`](crate::Log::record) waits, so that a locked store and a hanging
/// one give different errors.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

const TABLES: &str = "
CREATE TABLE incident (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  target TEXT NOT NULL,
  drill INTEGER NOT NULL,
  opened_at TEXT NOT NULL,
  closed_at TEXT,
  head INTEGER NOT NULL,
  head_hash BLOB NOT NULL,
  last_at TEXT NOT NULL,
  turn INTEGER,
  turn_at TEXT
) STRICT;
CREATE TABLE event (place INTEGER PRIMARY KEY, json TEXT NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TABLE running_verb (
  operation BLOB PRIMARY KEY,
  incident BLOB NOT NULL,
  target TEXT NOT NULL,
  verb TEXT NOT NULL,
  at TEXT NOT NULL
) STRICT;
CREATE TABLE remembered (key TEXT PRIMARY KEY, value TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;
CREATE INDEX remembered_at ON remembered (at_ms);
CREATE TABLE pulse (one INTEGER PRIMARY KEY CHECK (one = 1), beats INTEGER NOT NULL) STRICT;
INSERT INTO pulse VALUES (1, 0);
";

/// What format 2 adds: tombstones, the logs whose events are still to be deleted, and when an incident was imported.
const FORMAT_2: &str = "
CREATE TABLE tombstone (
  entry INTEGER PRIMARY KEY AUTOINCREMENT,
  number INTEGER NOT NULL UNIQUE,
  incident BLOB NOT NULL,
  json TEXT NOT NULL,
  hash BLOB NOT NULL
) STRICT;
CREATE INDEX tombstone_incident ON tombstone (incident);
CREATE TABLE purge (number INTEGER PRIMARY KEY) STRICT;
ALTER TABLE incident ADD COLUMN imported_at TEXT;
";

/// Where the store is.
#[derive(Debug, Clone)]
pub(crate) enum StoreLocation {
    File(PathBuf),
    /// A database in this process's memory, by its name.
    Memory(String),
}

impl StoreLocation {
    pub(crate) fn memory() -> StoreLocation {
        StoreLocation::Memory(format!("file:/breakglass-{}?vfs=memdb", Uuid::new_v4()))
    }

    fn connect(&self, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        match self {
            StoreLocation::File(path) => Connection::open_with_flags(path, flags),
            StoreLocation::Memory(uri) => {
                Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
            }
        }
    }

    /// Opens the writer's connection and tries it: reads every incident and the newest event, and writes one row. The
    /// error is a sentence.
    pub(crate) fn open(
        &self,
        max_bytes: u64,
        numbers: &IncidentNumbers,
    ) -> Result<Connection, String> {
        if let StoreLocation::File(path) = self {
            prepare(path)
                .map_err(|error| format!("{} cannot be opened: {error}", path.display()))?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        self.connect(flags)
            .map_err(|error| error.to_string())
            .and_then(|mut connection| {
                set_up(&mut connection, max_bytes)?;
                try_out(&connection, numbers).map_err(|error| error.to_string())?;
                Ok(connection)
            })
    }

    /// Opens the store exclusively. The error is a sentence, for example that another process has it open.
    pub(crate) fn open_alone(&self, max_bytes: u64) -> Result<Connection, String> {
        if let StoreLocation::File(path) = self {
            prepare(path)
                .map_err(|error| format!("{} cannot be opened: {error}", path.display()))?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let text = |error: rusqlite::Error| error.to_string();
        let mut connection = self.connect(flags).map_err(text)?;
        // Before anything is read: the lock fails if another process has the file open.
        connection
            .pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))
            .map_err(text)?;
        set_up(&mut connection, max_bytes)?;
        probe_write(&connection).map_err(text)?;
        Ok(connection)
    }

    pub(crate) fn open_reader(&self) -> rusqlite::Result<Connection> {
        // SQLite's in-memory files know no read-only opening; `query_only` holds for both.
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", -256)?;
        Ok(connection)
    }
}

/// Opens a log without changing it.
pub(crate) fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// The format of the log behind `connection`, or a sentence that says why it is not a known one.
pub(crate) fn format_of(connection: &Connection) -> Result<i64, String> {
    let number = |name: &str| {
        let value = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        value.map_err(|error| error.to_string())
    };
    match (number("application_id")?, number("user_version")?) {
        (0, 0) => Ok(0),
        (APPLICATION_ID, format @ 1..=FORMAT) => Ok(format),
        (APPLICATION_ID, newer) => Err(format!(
            "it has format {newer} and this breakglass knows {FORMAT}; install the newer one"
        )),
        _ => Err("it is another program's database".to_owned()),
    }
}

/// Creates directory and file, accessible only by their owner; SQLite gives its other files the same mode.
fn prepare(path: &Path) -> std::io::Result<()> {
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

/// Applies settings and creates missing tables.
fn set_up(connection: &mut Connection, max_bytes: u64) -> Result<(), String> {
    let text = |error: rusqlite::Error| error.to_string();
    connection.busy_timeout(BUSY_TIMEOUT).map_err(text)?;
    let format = format_of(connection)?;
    apply_settings(connection).map_err(text)?;
    if format < FORMAT {
        migrate(connection, format).map_err(text)?;
    }
    // Last, so that a full log can still be migrated.
    limit(connection, max_bytes).map_err(text)
}

fn apply_settings(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "page_size", PAGE_BYTES.cast_signed())?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -512)?;
    connection.pragma_update(None, "journal_size_limit", 8 << 20)
}

/// Limits the size of the log; it never shrinks below its current size.
pub(super) fn limit(connection: &Connection, max_bytes: u64) -> rusqlite::Result<()> {
    let pages = (max_bytes / PAGE_BYTES).max(1).min(u64::from(u32::MAX) - 1);
    connection.pragma_update_and_check(None, "max_page_count", pages.cast_signed(), |_| Ok(()))
}

/// The used bytes of the log.
pub(super) fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = number("page_count")? - number("freelist_count")?;
    Ok(pages.max(0).cast_unsigned() * PAGE_BYTES)
}

/// Creates the tables that a log of `format` lacks, all or none; `0` is a new file.
fn migrate(connection: &mut Connection, format: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    if format == 0 {
        let objects: i64 =
            transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if objects > 0 {
            return Err(rusqlite::Error::InvalidQuery);
        }
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    transaction.execute_batch(FORMAT_2)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

fn try_out(connection: &Connection, numbers: &IncidentNumbers) -> rusqlite::Result<()> {
    let mut incidents = connection.prepare("SELECT id, number FROM incident")?;
    let mut rows = incidents.query([])?;
    while let Some(row) = rows.next()? {
        numbers.insert(row.get(0)?, row.get(1)?);
    }
    let newest = "SELECT json, hash FROM event ORDER BY place DESC LIMIT 1";
    connection
        .query_row(newest, [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
        })
        .optional()?;
    probe_write(connection)
}

/// Moves the content of the write-ahead file into the log file.
pub(crate) fn fold(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// The write probe: writes one row.
pub(super) fn probe_write(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .execute("UPDATE pulse SET beats = beats + 1", params![])
        .map(drop)
}
