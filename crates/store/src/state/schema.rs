//! The tables of the state file; described in `format/v1.md`.

/// `MIGRATIONS[n]` leads from `user_version` n to n + 1; what was released is never edited.
pub(crate) const MIGRATIONS: &[&str] = &["
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    name TEXT PRIMARY KEY,
    permission TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sign_in (
    token_hash BLOB PRIMARY KEY,
    account TEXT NOT NULL REFERENCES account ON DELETE CASCADE,
    csrf TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_in_account ON sign_in (account, created_at);
CREATE INDEX sign_in_expires ON sign_in (expires_at);

CREATE TABLE token (
    name TEXT PRIMARY KEY,
    permission TEXT NOT NULL,
    token_hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE journal (
    id INTEGER PRIMARY KEY,
    entry TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER journal_update BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_delete BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

CREATE TABLE finding (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    instance TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    check_id TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    worst TEXT NOT NULL,
    finding TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX finding_open ON finding (instance, fingerprint) WHERE closed_at IS NULL;
CREATE INDEX finding_closed ON finding (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX finding_fingerprint ON finding (fingerprint, id);
CREATE INDEX finding_instance ON finding (instance, id);

CREATE TABLE statement (
    queryid INTEGER PRIMARY KEY,
    text TEXT NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;
CREATE INDEX statement_seen ON statement (seen_at);
"];
