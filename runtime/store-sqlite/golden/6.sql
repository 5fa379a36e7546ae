-- A database of schema version 6 with one record of each kind. Never edited: this file is what such databases are.
PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
CREATE TABLE audit (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    who    TEXT    NOT NULL,
    role   TEXT    NOT NULL,
    origin TEXT    NOT NULL,
    method TEXT    NOT NULL,
    path   TEXT    NOT NULL,
    status INTEGER,
    seal   INTEGER NOT NULL
) STRICT;
INSERT INTO "audit" VALUES(1,7,'ada','admin','127.0.0.1','PUT','/x',200,3961870586);
CREATE TABLE checkpoints (
    job          INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    id           TEXT    NOT NULL,
    run          INTEGER NOT NULL,
    round        INTEGER NOT NULL,
    accuracy     REAL,
    path         TEXT    NOT NULL,
    model_digest BLOB    NOT NULL,
    model_len    INTEGER NOT NULL, seal INTEGER,
    PRIMARY KEY (job, id)
) STRICT, WITHOUT ROWID;
INSERT INTO "checkpoints" VALUES(1,'one',1,1,3.00000000000000044408e-01,'models/one.safetensors',X'7692C3AD3540BB803C020B3AEE66CD8887123234EA0C6E7143C0ADD73FF431ED',3,4172722982);
CREATE TABLE events (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    namespace TEXT,
    job       TEXT,
    kind      TEXT    NOT NULL,
    fields    TEXT    NOT NULL
, seal INTEGER) STRICT;
INSERT INTO "events" VALUES(1,9,'default','a','job-queued','{"round":1,"why":"é"}',3794954426);
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
INSERT INTO "jobs" VALUES(1,'default','a','{"name":"é"}','QUEUING',X'00FF010A236372633332203537323531636337',-1,NULL,'ada');
CREATE TABLE marks (
    client TEXT    PRIMARY KEY,
    kind   TEXT    NOT NULL,
    by     TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    reason TEXT    NOT NULL,
    seal   INTEGER NOT NULL
) STRICT;
INSERT INTO "marks" VALUES('c1','cordoned','ada',5,'new disk',3789429684);
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
    at      INTEGER NOT NULL, cause TEXT, seal INTEGER, counted INTEGER, sent INTEGER, started INTEGER, uploading INTEGER, bytes INTEGER,
    PRIMARY KEY (job, run, round, attempt, kind, client)
) STRICT, WITHOUT ROWID;
INSERT INTO "members" VALUES(1,1,1,1,0,'x','refused','{"accuracy":"0.30000000000000004","loss":"5e-324","sample_num":"inf"}','not-finite','holds NaN',7,'{"exit":"exit code 1","limit":"memory 512 MB","traceback":"Traceback\n  é","log":"last\nlines","worker":2}',3488943918,NULL,3,4,5,6);
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
    reason       TEXT    NOT NULL, cause TEXT, seal INTEGER,
    PRIMARY KEY (job, run, round, kind, attempt)
) STRICT, WITHOUT ROWID;
INSERT INTO "rounds" VALUES(1,1,1,0,1,'complete',1,2,3,2,'{"accuracy":"0.30000000000000004","loss":"5e-324","sample_num":"inf"}',X'9372C470EEADD5ECD9C3C74C2B3CB633F8E2F2FAD799250A0F70D652B6B825E4',5,'','{"exit":null,"limit":null,"traceback":"Traceback: é","log":"","worker":null}',2581423001);
CREATE TABLE runs (
    job        INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    run        INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    snapshot   BLOB    NOT NULL,
    PRIMARY KEY (job, run)
) STRICT;
INSERT INTO "runs" VALUES(1,1,1,X'01000000000000000A236372633332206334383239623066');
CREATE TABLE tokens (
    id         TEXT    PRIMARY KEY,
    name       TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    digest     BLOB    NOT NULL UNIQUE,
    created    INTEGER NOT NULL,
    created_by TEXT    NOT NULL,
    revoked    INTEGER,
    seal       INTEGER NOT NULL
) STRICT;
INSERT INTO "tokens" VALUES('a','user a','operator',X'CA978112CA1BBDCAFAC231B39A23DC4DA786EFF8147C4E72B9807785AFEE48BB',1,'root é',NULL,2934363738);
CREATE INDEX members_by_counted ON members (job, run, counted) WHERE counted IS NOT NULL;
CREATE INDEX events_by_job ON events (namespace, job, id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',1);
INSERT INTO "sqlite_sequence" VALUES('audit',1);
COMMIT;
PRAGMA user_version = 6;
