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
PRAGMA application_id = 1111968332;
PRAGMA user_version = 1;
