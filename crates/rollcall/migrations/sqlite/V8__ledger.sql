-- The ledger of delivery: small rows that settlements touch, apart from the settings that people touch.

-- Where delivery to an application stands. `position` is the last change that is done with. `revision`
-- grows with every settlement, and every settlement names the one before it: a settlement that failed
-- fails all that were queued behind it. `epoch` grows whenever another node takes the application over:
-- who was its deliverer before can settle no more.
CREATE TABLE deliveries (
    application_id  TEXT PRIMARY KEY REFERENCES applications (id),
    position        INTEGER NOT NULL,
    revision        INTEGER NOT NULL,
    epoch           INTEGER NOT NULL,
    node            TEXT,
    suspended       TEXT
);
CREATE INDEX deliveries_by_node ON deliveries (node);
INSERT INTO deliveries (application_id, position, revision, epoch, node, suspended)
    SELECT id, cursor_seq, 0, 0, NULL, suspended FROM applications;
ALTER TABLE applications DROP COLUMN cursor_seq;
ALTER TABLE applications DROP COLUMN suspended;

-- The processes that deliver. `beat` grows while one is alive; whoever sees it stand still for the
-- length of a lease may take over what the node held.
CREATE TABLE nodes (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    beat        INTEGER NOT NULL,
    started_at  INTEGER NOT NULL
);

-- Attempts are only ever appended. They name their application without a foreign key, whose check
-- would lock the application's row at every request.
CREATE TABLE new_attempts (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    application_id  TEXT NOT NULL,
    source          TEXT NOT NULL,
    from_seq        INTEGER,
    to_seq          INTEGER,
    lane            INTEGER NOT NULL,
    lanes           INTEGER NOT NULL,
    try_number      INTEGER NOT NULL,
    started_at      INTEGER NOT NULL,
    latency_us      INTEGER NOT NULL,
    outcome         TEXT NOT NULL,
    http_status     INTEGER,
    events          INTEGER NOT NULL,
    succeeded       INTEGER NOT NULL,
    assumed         INTEGER NOT NULL,
    skipped         INTEGER NOT NULL,
    failed          INTEGER NOT NULL,
    retried         INTEGER NOT NULL,
    exceptions      TEXT,
    detail          TEXT
);
INSERT INTO new_attempts (id, application_id, source, from_seq, to_seq, lane, lanes, try_number, started_at,
        latency_us, outcome, http_status, events, succeeded, assumed, skipped, failed, retried, exceptions, detail)
    SELECT id, application_id, source, from_seq, to_seq, lane, lanes, try_number, started_at,
        latency_us, outcome, http_status, events, succeeded, 0, skipped, failed, retried, exceptions, detail
    FROM attempts;
DROP TABLE attempts;
ALTER TABLE new_attempts RENAME TO attempts;
CREATE INDEX attempts_by_application ON attempts (application_id, id);

-- How often an event was wanted again although the application took others meanwhile.
ALTER TABLE parked_events ADD COLUMN strikes INTEGER NOT NULL DEFAULT 0;
