-- Times are microseconds since 1970. The states are 1 RUNNING, 2 DONE and 3 UNKNOWN.
CREATE TABLE aplomb_record (
    name BLOB NOT NULL PRIMARY KEY,
    token BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    state INTEGER NOT NULL,
    rerun INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    response BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX aplomb_record_expires_at ON aplomb_record (expires_at);
CREATE TABLE aplomb_aborted (
    token BLOB NOT NULL PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX aplomb_aborted_until ON aplomb_aborted (until);
CREATE TABLE aplomb_secret (
    namespace TEXT NOT NULL PRIMARY KEY,
    secret BLOB NOT NULL
) STRICT, WITHOUT ROWID;
