//! The tables of the history file; `format/v1.md` says what the blobs mean.

/// `MIGRATIONS[n]` leads from `user_version` n to n + 1; what was released is never edited.
pub(crate) const MIGRATIONS: &[&str] = &["
CREATE TABLE target (
  id       INTEGER PRIMARY KEY,
  instance TEXT NOT NULL,
  database TEXT
);
CREATE UNIQUE INDEX target_by_name ON target (instance, ifnull('d' || database, ''));

CREATE TABLE collector (
  id      INTEGER PRIMARY KEY,
  name    TEXT NOT NULL,
  columns TEXT NOT NULL,
  UNIQUE (name, columns)
);

CREATE TABLE stream (
  id        INTEGER PRIMARY KEY,
  target    INTEGER NOT NULL REFERENCES target,
  collector INTEGER NOT NULL REFERENCES collector,
  UNIQUE (target, collector)
);

CREATE TABLE hot (
  stream   INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  flags    INTEGER NOT NULL,
  changes  INTEGER NOT NULL,
  frame    BLOB NOT NULL,
  PRIMARY KEY (stream, sequence)
) WITHOUT ROWID;

CREATE TABLE segment (
  id         INTEGER PRIMARY KEY,
  stream     INTEGER NOT NULL,
  resolution INTEGER NOT NULL,
  level      INTEGER NOT NULL,
  first_at   INTEGER NOT NULL,
  from_at    INTEGER NOT NULL,
  to_at      INTEGER NOT NULL,
  frames     INTEGER NOT NULL,
  changes    INTEGER NOT NULL,
  bytes      INTEGER NOT NULL
);
CREATE INDEX segment_by_stream ON segment (stream, resolution, to_at);
CREATE INDEX segment_by_age ON segment (resolution, to_at);
CREATE INDEX segment_by_level ON segment (level, resolution, to_at) WHERE level = 0;

CREATE TABLE part (
  id   INTEGER PRIMARY KEY,
  data BLOB NOT NULL
);

CREATE TABLE server (
  instance TEXT NOT NULL,
  at       INTEGER NOT NULL,
  facts    BLOB NOT NULL,
  PRIMARY KEY (instance, at)
) WITHOUT ROWID;
"];
