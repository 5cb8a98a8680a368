-- A state file of version 2; the test "a_state_file_of_version_2_stays_readable" makes it and reads it.
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

INSERT INTO account VALUES ('alice', 'admin', '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA', 1795262400000000000);
INSERT INTO sign_in VALUES (x'0101010101010101010101010101010101010101010101010101010101010101', 'alice', 'csrf', 1795262400000000000, 1795266000000000000);
INSERT INTO token VALUES ('ci', 'operator', x'0202020202020202020202020202020202020202020202020202020202020202', 1795262400000000000, NULL);
INSERT INTO journal VALUES (1, '{"at":"2026-11-21T12:00:00Z","actor":"cli:postgres","action":"account.create","object":"alice","outcome":"done","detail":{"permission":"admin"}}', '4901b2f9d30b2bb65d2b2d577b86eac5ed4e5aa1844dd7788639ea5ffc1a9608');
INSERT INTO journal VALUES (2, '{"at":"2026-11-21T12:05:00Z","actor":"account:alice","action":"daemon.reload","object":"","outcome":"refused","detail":null}', '5d2df744d689512c7960a59cd8b9e2e060fcba0887fadbc5d5141ff282b99ea0');
INSERT INTO meta VALUES ('journal-head', '2 5d2df744d689512c7960a59cd8b9e2e060fcba0887fadbc5d5141ff282b99ea0');
INSERT INTO finding VALUES (1, 'dwh-1', '0123456789abcdef', 'disk-full', 1795262400000000000, 1795262460000000000, 'critical', '{"check":"disk-full","object":"/data","database":null,"level":"warning","title":"/data is 85 % full (limit 80 %)","value":85.0,"unit":"percent","threshold":80.0,"since":null,"evidence":[["mount","/data"]],"remedy":"free space","blind":null,"fingerprint":"0123456789abcdef"}');
INSERT INTO statement VALUES (-42, 'SELECT $1', 1795262400000000000);
INSERT INTO alert VALUES (1, 'da335cc0867aa7dc', 'dwh-1', 'disk-full', 1, 1790000000000000000, 1790000060000000000, NULL, 1790000000000000000, NULL, '{"fingerprint":"da335cc0867aa7dc","instance":"dwh-1","labels":{"check":"disk-full"},"priority":"P1","finding":{"check":"disk-full","object":"/data","database":null,"level":"critical","title":"/data is at 97","value":97.0,"unit":"percent","threshold":80.0,"since":null,"evidence":[["object","/data"]],"remedy":"SELECT 1","blind":null,"fingerprint":"da335cc0867aa7dc"},"condition":{"state":"firing","since":"2026-09-21T14:14:20Z","level":"critical"},"handling":{"acknowledged":null,"snoozed":null,"mutes":[],"escalation":null},"opened_at":"2026-09-21T14:13:20Z","seen_at":"2026-09-21T14:13:20Z","changed_at":"2026-09-21T14:13:20Z","first_value":97.0,"flaps":0,"incident":null,"source":null}', '{"samples":7,"count":3,"cleared_at":["2026-09-21T14:12:20Z"],"lower_since":null,"bad_since":null,"worst":null}');
INSERT INTO alert_event VALUES (1, 'da335cc0867aa7dc', 1790000000000000000, '{"fingerprint":"da335cc0867aa7dc","at":"2026-09-21T14:13:20Z","kind":"opened","by":"ayu","detail":{"level":"critical"}}');
INSERT INTO alert_event VALUES (2, 'da335cc0867aa7dc', 1790000060000000000, '{"fingerprint":"da335cc0867aa7dc","at":"2026-09-21T14:14:20Z","kind":"fired","by":"ayu","detail":{"level":"critical"}}');
INSERT INTO alert_group VALUES ('default/dwh-1', '{"key":"default/dwh-1","route":"default","labels":{"instance":"dwh-1"},"created_at":"2026-09-21T14:13:20Z","next_at":"2026-09-21T14:18:20Z","flushed":true,"sequence":3,"told":{"email-dba":{"at":"2026-09-21T14:13:20Z","firing":{"f":"critical"},"resolved":[],"recipient":{"channel":"","contact":null,"address":null}}}}');
INSERT INTO silence VALUES (4, 1790000600000000000, '{"id":4,"matchers":[{"label":"check","operator":"=","value":"disk-full"}],"starts_at":"2026-09-21T14:13:20Z","ends_at":"2026-09-21T14:23:20Z","by":"ayu","reason":"disks are being added","created_at":"2026-09-21T14:13:20Z","expired":null}');
INSERT INTO maintenance_window VALUES (1, 'window-7', NULL, '{"name":"window-7","schedule":"sun 02:00-06:00 Asia/Jakarta","matchers":[],"by":"ayu","reason":"upgrade","created_at":"2026-09-21T14:13:20Z","removed_at":null}');
INSERT INTO parcel VALUES (1, 'default/1', 'default', 'email-dba', 'waiting', 1790000060000000000, '{"message":{"key":"default/1","thread":"default","sequence":1,"kind":"firing","recipient":{"channel":"email-dba","contact":null,"address":null},"created_at":"2026-09-21T14:14:20Z","priority":"P1","level":"critical","route":"default","group_labels":{"instance":"dwh-1"},"common_labels":{"check":"disk-full"},"subject":"disk full","notices":[],"firing":1,"resolved":0,"left_out":0,"incident":null,"link":null,"notes":[]},"due_at":"2026-09-21T14:14:20Z","attempts":0,"trouble":null,"state":{"state":"waiting"}}');
INSERT INTO incident VALUES (9, 1790000060000000000, NULL, '{"id":9,"title":"disk full","priority":"P1","state":"open","instances":["dwh-1"],"alerts":[],"checks":["disk-full"],"began_at":"2026-09-21T14:14:20Z","opened_at":"2026-09-21T14:14:20Z","opened_by":"pawang","respond_by":"2026-09-21T14:29:20Z","responded":["2026-09-21T14:15:20Z","ayu"],"mitigated_at":null,"closed":null,"review":null}');
INSERT INTO incident_entry VALUES (1, 9, '{"incident":9,"at":"2026-09-21T14:15:20Z","kind":"note","by":"ayu","text":"second","fingerprint":null}');
INSERT INTO incident_entry VALUES (2, 9, '{"incident":9,"at":"2026-09-21T14:14:20Z","kind":"note","by":"ayu","text":"first","fingerprint":null}');
PRAGMA user_version = 2;
