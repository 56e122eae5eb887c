-- From where a change came: `cli`, or `api` with the request's id and the address. Null from inside.
ALTER TABLE changes ADD COLUMN origin TEXT;

-- What was done by whom, besides the changes of the directory, which the change log tells of.
CREATE TABLE audit_entries (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    time         INTEGER NOT NULL,
    actor        TEXT NOT NULL,
    origin       TEXT,
    action       TEXT NOT NULL,
    target_kind  TEXT NOT NULL,
    target_id    TEXT NOT NULL,
    target_name  TEXT NOT NULL,
    before       TEXT,
    after        TEXT
);
CREATE INDEX audit_entries_by_target ON audit_entries (target_id, id);
