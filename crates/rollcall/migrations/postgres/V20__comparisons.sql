-- Comparisons of what applications have with what they should have. They can be made again at any time, so they are in no
-- backup.
CREATE TABLE comparisons (
    id             TEXT PRIMARY KEY,
    application_id TEXT NOT NULL REFERENCES applications (id),
    status         TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    -- The last sign of life of whoever compares.
    seen_at        BIGINT NOT NULL,
    ended_at       BIGINT,
    -- How many of each kind, as JSON.
    counts         TEXT NOT NULL,
    -- Why it failed.
    error          TEXT
);
CREATE INDEX comparisons_by_application ON comparisons (application_id, created_at);

-- What differs, and what the application has that is nobody of the hub's.
CREATE TABLE comparison_differences (
    comparison_id TEXT NOT NULL REFERENCES comparisons (id),
    number        BIGINT NOT NULL,
    kind          TEXT NOT NULL,
    subject_kind  TEXT NOT NULL,
    -- Whose: an id of the directory.
    subject_id    TEXT,
    remote_id     TEXT,
    name          TEXT NOT NULL,
    repairable    BOOLEAN NOT NULL,
    -- How many a group lacks, and how many it has besides; whether nobody would be left.
    missing       BIGINT NOT NULL,
    surplus       BIGINT NOT NULL,
    emptied       BOOLEAN NOT NULL,
    -- What differs, as JSON.
    details       TEXT NOT NULL,
    PRIMARY KEY (comparison_id, number)
);
CREATE INDEX comparison_differences_by_subject ON comparison_differences (comparison_id, subject_id);
CREATE INDEX comparison_differences_by_remote_id ON comparison_differences (comparison_id, remote_id);

-- Which object of the application stands for whom; it goes when the comparison is over.
CREATE TABLE comparison_matches (
    comparison_id TEXT NOT NULL REFERENCES comparisons (id),
    subject_id    TEXT NOT NULL,
    remote_id     TEXT NOT NULL,
    -- How sure that is: the less, the surer.
    doubt         BIGINT NOT NULL,
    name          TEXT NOT NULL,
    PRIMARY KEY (comparison_id, subject_id)
);
-- Whether a group's members have to be compared with those that the application has.
ALTER TABLE remote_objects ADD COLUMN members_in_doubt BOOLEAN NOT NULL DEFAULT FALSE;
