-- A state file of version 1; the test "a_file_of_version_1_stays_readable" makes it and reads it.
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

INSERT INTO account VALUES ('alice', 'admin', '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA', 1795262400000000000);
INSERT INTO sign_in VALUES (x'0101010101010101010101010101010101010101010101010101010101010101', 'alice', 'csrf', 1795262400000000000, 1795266000000000000);
INSERT INTO token VALUES ('ci', 'operator', x'0202020202020202020202020202020202020202020202020202020202020202', 1795262400000000000, NULL);
INSERT INTO journal VALUES (1, '{"at":"2026-11-21T12:00:00Z","actor":"cli:postgres","action":"account.create","object":"alice","outcome":"done","detail":{"permission":"admin"}}', '4901b2f9d30b2bb65d2b2d577b86eac5ed4e5aa1844dd7788639ea5ffc1a9608');
INSERT INTO journal VALUES (2, '{"at":"2026-11-21T12:05:00Z","actor":"account:alice","action":"daemon.reload","object":"","outcome":"refused","detail":null}', '5d2df744d689512c7960a59cd8b9e2e060fcba0887fadbc5d5141ff282b99ea0');
INSERT INTO meta VALUES ('journal-head', '2 5d2df744d689512c7960a59cd8b9e2e060fcba0887fadbc5d5141ff282b99ea0');
INSERT INTO finding VALUES (1, 'dwh-1', '0123456789abcdef', 'disk-full', 1795262400000000000, 1795262460000000000, 'critical', '{"check":"disk-full","object":"/data","database":null,"level":"warning","title":"/data is 85 % full (limit 80 %)","value":85.0,"unit":"percent","threshold":80.0,"since":null,"evidence":[["mount","/data"]],"remedy":"free space","blind":null,"fingerprint":"0123456789abcdef"}');
INSERT INTO statement VALUES (-42, 'SELECT $1', 1795262400000000000);
PRAGMA user_version = 1;
