-- What is remembered of users and groups at applications that give them ids of their own: one row for each that the
-- application has. `told` is a digest of what it was told last, null if that is not known.
CREATE TABLE remote_objects (
    application_id TEXT NOT NULL REFERENCES applications (id),
    subject_id     TEXT NOT NULL,
    subject_kind   TEXT NOT NULL,
    remote_id      TEXT NOT NULL,
    told           BYTEA,
    etag           TEXT,
    -- Whether it was disabled there, because whom it stands for has left.
    has_left       BOOLEAN NOT NULL,
    PRIMARY KEY (application_id, subject_id)
);
CREATE INDEX remote_objects_by_remote_id ON remote_objects (application_id, subject_kind, remote_id);
-- What proves to an application who the hub is, sealed.
ALTER TABLE applications ADD COLUMN secret BYTEA;
