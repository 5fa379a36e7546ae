-- A database of schema version 2 with one record of each kind. Never edited: this file is what such databases are.
PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
CREATE TABLE checkpoints (
    job          INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    id           TEXT    NOT NULL,
    run          INTEGER NOT NULL,
    round        INTEGER NOT NULL,
    accuracy     REAL,
    path         TEXT    NOT NULL,
    model_digest BLOB    NOT NULL,
    model_len    INTEGER NOT NULL,
    PRIMARY KEY (job, id)
) STRICT, WITHOUT ROWID;
INSERT INTO checkpoints VALUES(1,'one',1,1,0.3000000000000000444,'models/one.safetensors',X'7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed',3);
CREATE TABLE events (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    namespace TEXT,
    job       TEXT,
    kind      TEXT    NOT NULL,
    fields    TEXT    NOT NULL
) STRICT;
INSERT INTO events VALUES(1,9,'default','a','job-queued','{"round":1,"why":"é"}');
CREATE TABLE jobs (
    job       INTEGER PRIMARY KEY,
    namespace TEXT    NOT NULL,
    id        TEXT    NOT NULL,
    document  TEXT    NOT NULL,
    state     TEXT    NOT NULL,
    snapshot  BLOB    NOT NULL,
    created   INTEGER NOT NULL,
    started   INTEGER, author TEXT NOT NULL DEFAULT 'anonymous',
    UNIQUE (namespace, id)
) STRICT;
INSERT INTO jobs VALUES(1,'default','a','{"name":"é"}','QUEUING',X'00ff01',-1,NULL,'ada');
CREATE TABLE members (
    job     INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    run     INTEGER NOT NULL,
    round   INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    client  TEXT    NOT NULL,
    state   TEXT    NOT NULL,
    metrics TEXT    NOT NULL,
    code    TEXT,
    reason  TEXT    NOT NULL,
    at      INTEGER NOT NULL, cause TEXT,
    PRIMARY KEY (job, run, round, attempt, kind, client)
) STRICT, WITHOUT ROWID;
INSERT INTO members VALUES(1,1,1,1,0,'x','refused','{"accuracy":"0.30000000000000004","loss":"5e-324","sample_num":"inf"}','not-finite','holds NaN',7,'{"exit":"exit code 1","limit":"memory 512 MB","traceback":"Traceback\n  é","log":"last\nlines","worker":2}');
CREATE TABLE rounds (
    job          INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    run          INTEGER NOT NULL,
    round        INTEGER NOT NULL,
    kind         INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    state        TEXT    NOT NULL,
    opened       INTEGER NOT NULL,
    closed       INTEGER,
    cohort       INTEGER NOT NULL,
    accepted     INTEGER NOT NULL,
    metrics      TEXT    NOT NULL,
    model_digest BLOB,
    model_len    INTEGER,
    reason       TEXT    NOT NULL, cause TEXT,
    PRIMARY KEY (job, run, round, kind, attempt)
) STRICT, WITHOUT ROWID;
INSERT INTO rounds VALUES(1,1,1,0,1,'complete',1,2,3,2,'{"accuracy":"0.30000000000000004","loss":"5e-324","sample_num":"inf"}',X'9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4',5,'','{"exit":null,"limit":null,"traceback":"Traceback: é","log":"","worker":null}');
CREATE TABLE runs (
    job        INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    run        INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    snapshot   BLOB    NOT NULL,
    PRIMARY KEY (job, run)
) STRICT;
INSERT INTO runs VALUES(1,1,1,X'0100000000000000');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('events',1);
CREATE INDEX events_by_job ON events (namespace, job, id);
COMMIT;
PRAGMA user_version = 2;
