//! The tables of the state file; described in `format/v2.md`.

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
", "
CREATE TABLE alert (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    instance TEXT NOT NULL,
    check_id TEXT NOT NULL,
    kept INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    fired_at INTEGER,
    over_at INTEGER,
    changed_at INTEGER NOT NULL,
    incident INTEGER,
    alert TEXT NOT NULL,
    tally TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX alert_kept ON alert (fingerprint) WHERE kept = 1;
CREATE INDEX alert_over ON alert (over_at) WHERE kept = 0;
CREATE INDEX alert_fingerprint ON alert (fingerprint, id);
CREATE INDEX alert_instance ON alert (instance, id);
CREATE INDEX alert_incident ON alert (incident, id) WHERE incident IS NOT NULL;

CREATE TABLE alert_event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    at INTEGER NOT NULL,
    event TEXT NOT NULL
) STRICT;
CREATE INDEX alert_event_fingerprint ON alert_event (fingerprint, id);
CREATE INDEX alert_event_at ON alert_event (at, id);
CREATE TRIGGER alert_event_update BEFORE UPDATE ON alert_event
BEGIN SELECT RAISE(ABORT, 'the log of alerts is append-only'); END;
CREATE TRIGGER alert_event_delete BEFORE DELETE ON alert_event
WHEN OLD.id >= coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'alert-event-first'), 0)
BEGIN SELECT RAISE(ABORT, 'the log of alerts is append-only'); END;

CREATE TABLE alert_group (
    key TEXT PRIMARY KEY,
    alert_group TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE silence (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ends_at INTEGER NOT NULL,
    silence TEXT NOT NULL
) STRICT;
CREATE INDEX silence_ends ON silence (ends_at);

CREATE TABLE maintenance_window (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    removed_at INTEGER,
    maintenance_window TEXT NOT NULL
) STRICT;
CREATE INDEX maintenance_window_removed ON maintenance_window (removed_at) WHERE removed_at IS NOT NULL;

CREATE TABLE parcel (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    thread TEXT NOT NULL,
    channel TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    parcel TEXT NOT NULL
) STRICT;
CREATE INDEX parcel_waiting ON parcel (id) WHERE state = 'waiting';
CREATE INDEX parcel_finished ON parcel (created_at) WHERE state <> 'waiting';
CREATE INDEX parcel_channel ON parcel (channel, id);
CREATE INDEX parcel_thread ON parcel (thread, id);

CREATE TABLE incident (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    incident TEXT NOT NULL
) STRICT;
CREATE INDEX incident_open ON incident (id) WHERE closed_at IS NULL;
CREATE INDEX incident_closed ON incident (closed_at) WHERE closed_at IS NOT NULL;

CREATE TABLE incident_entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    incident INTEGER NOT NULL,
    entry TEXT NOT NULL
) STRICT;
CREATE INDEX incident_entry_incident ON incident_entry (incident, id);
"];
