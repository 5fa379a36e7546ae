-- Schema version 1. Never edited once released: a change is a new file. golden/1.sql holds a database of this version.
-- Unsigned 64-bit numbers are stored bit for bit as signed ones; kinds are 0 train, 1 evaluate; digests are 32 bytes.
CREATE TABLE jobs (
    job       INTEGER PRIMARY KEY,
    namespace TEXT    NOT NULL,
    id        TEXT    NOT NULL,
    document  TEXT    NOT NULL,
    state     TEXT    NOT NULL,
    snapshot  BLOB    NOT NULL,
    created   INTEGER NOT NULL,
    started   INTEGER,
    UNIQUE (namespace, id)
) STRICT;

CREATE TABLE runs (
    job        INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    run        INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    snapshot   BLOB    NOT NULL,
    PRIMARY KEY (job, run)
) STRICT;

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
    reason       TEXT    NOT NULL,
    PRIMARY KEY (job, run, round, kind, attempt)
) STRICT, WITHOUT ROWID;

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
    at      INTEGER NOT NULL,
    PRIMARY KEY (job, run, round, attempt, kind, client)
) STRICT, WITHOUT ROWID;

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

-- AUTOINCREMENT: the id of a removed event is never given again. An event may speak of a job that is gone.
CREATE TABLE events (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    namespace TEXT,
    job       TEXT,
    kind      TEXT    NOT NULL,
    fields    TEXT    NOT NULL
) STRICT;

CREATE INDEX events_by_job ON events (namespace, job, id);
