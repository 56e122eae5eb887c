-- The hub's tables. The SQLite folder holds the same tables with that database's type names;
-- a test compares the two. Ids, JSON and folded keys are text, times are integers of milliseconds.

CREATE TABLE instance (
    id          TEXT PRIMARY KEY,
    ali_uid     TEXT NOT NULL,
    -- Grows with every change of an application's settings, so that one small read tells whether
    -- any application must be loaded again.
    applications_version BIGINT NOT NULL,
    created_at  BIGINT NOT NULL
);

-- The change log. `change_head` is one row; writers take their sequence numbers from it inside the
-- writing transaction, which makes the log gapless and in commit order.
CREATE TABLE change_head (
    id    BIGINT PRIMARY KEY,
    seq   BIGINT NOT NULL,
    time  BIGINT NOT NULL
);
INSERT INTO change_head (id, seq, time) VALUES (1, 0, 0);

CREATE TABLE changes (
    seq           BIGINT PRIMARY KEY,
    event_id      TEXT NOT NULL,
    kind          TEXT NOT NULL,
    subject_kind  TEXT NOT NULL,
    subject_id    TEXT NOT NULL,
    time          BIGINT NOT NULL,
    actor         TEXT NOT NULL,
    record        TEXT NOT NULL,
    previous      TEXT,
    placed_before TEXT,
    placed_after  TEXT,
    secret        BYTEA
);
CREATE INDEX changes_by_subject ON changes (subject_id, seq);
CREATE INDEX changes_with_secret ON changes (seq) WHERE secret IS NOT NULL;

-- The directory.
CREATE TABLE organizational_units (
    id           TEXT PRIMARY KEY,
    parent_id    TEXT REFERENCES organizational_units (id),
    name         TEXT NOT NULL,
    name_folded  TEXT NOT NULL,
    description  TEXT,
    source_type  TEXT NOT NULL,
    source_id    TEXT NOT NULL,
    external_id  TEXT,
    create_time  BIGINT NOT NULL,
    update_time  BIGINT NOT NULL
);
CREATE UNIQUE INDEX organizational_units_name ON organizational_units (parent_id, name_folded);
CREATE UNIQUE INDEX organizational_units_external ON organizational_units (source_type, source_id, external_id) WHERE external_id IS NOT NULL;

CREATE TABLE users (
    id                  TEXT PRIMARY KEY,
    username            TEXT NOT NULL,
    username_folded     TEXT NOT NULL,
    display_name        TEXT NOT NULL,
    email               TEXT,
    email_folded        TEXT,
    email_verified      BOOLEAN NOT NULL,
    phone_region        TEXT,
    phone_number        TEXT,
    phone_verified      BOOLEAN NOT NULL,
    password_hash       TEXT,
    status              TEXT NOT NULL,
    account_expire_time BIGINT,
    lock_expire_time    BIGINT,
    register_time       BIGINT NOT NULL,
    description         TEXT,
    custom_fields       TEXT,
    source_type         TEXT NOT NULL,
    source_id           TEXT NOT NULL,
    external_id         TEXT,
    create_time         BIGINT NOT NULL,
    update_time         BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_username ON users (username_folded);
CREATE UNIQUE INDEX users_email ON users (email_folded) WHERE email_folded IS NOT NULL;
CREATE UNIQUE INDEX users_phone ON users (phone_region, phone_number) WHERE phone_number IS NOT NULL;
CREATE UNIQUE INDEX users_external ON users (source_type, source_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX users_account_expiry ON users (account_expire_time) WHERE account_expire_time IS NOT NULL;
CREATE INDEX users_lock_expiry ON users (lock_expire_time) WHERE lock_expire_time IS NOT NULL;

CREATE TABLE unit_members (
    user_id     TEXT NOT NULL REFERENCES users (id),
    unit_id     TEXT NOT NULL REFERENCES organizational_units (id),
    is_primary  BOOLEAN NOT NULL,
    PRIMARY KEY (user_id, unit_id)
);
CREATE INDEX unit_members_by_unit ON unit_members (unit_id, user_id);
CREATE UNIQUE INDEX unit_members_primary ON unit_members (user_id) WHERE is_primary;

CREATE TABLE groups (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    name_folded  TEXT NOT NULL,
    description  TEXT,
    source_type  TEXT NOT NULL,
    source_id    TEXT NOT NULL,
    external_id  TEXT,
    create_time  BIGINT NOT NULL,
    update_time  BIGINT NOT NULL
);
CREATE UNIQUE INDEX groups_name ON groups (name_folded);
CREATE UNIQUE INDEX groups_external ON groups (source_type, source_id, external_id) WHERE external_id IS NOT NULL;

CREATE TABLE group_members (
    group_id  TEXT NOT NULL REFERENCES groups (id),
    user_id   TEXT NOT NULL REFERENCES users (id),
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_by_user ON group_members (user_id, group_id);

-- Applications. `cursor_seq` is the last change that is settled for the application.
CREATE TABLE applications (
    id              TEXT PRIMARY KEY,
    name            TEXT NOT NULL,
    name_folded     TEXT NOT NULL,
    synchronize     BOOLEAN NOT NULL,
    settings        TEXT NOT NULL,
    encryption_key  BYTEA,
    version         BIGINT NOT NULL,
    cursor_seq      BIGINT NOT NULL,
    suspended       TEXT,
    create_time     BIGINT NOT NULL,
    update_time     BIGINT NOT NULL
);
CREATE UNIQUE INDEX applications_name ON applications (name_folded);

-- What an application is entitled to, from a position in the log on: changes after `from_seq` are
-- judged by this scope and subscription until the next row of the application begins.
CREATE TABLE entitlements (
    application_id  TEXT NOT NULL REFERENCES applications (id),
    from_seq        BIGINT NOT NULL,
    scope           TEXT NOT NULL,
    subscription    TEXT NOT NULL,
    PRIMARY KEY (application_id, from_seq)
);

CREATE TABLE signing_keys (
    kid             TEXT PRIMARY KEY,
    application_id  TEXT NOT NULL REFERENCES applications (id),
    private_key     BYTEA NOT NULL,
    public_jwk      TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    signs_from      BIGINT NOT NULL,
    retires_at      BIGINT
);
CREATE INDEX signing_keys_by_application ON signing_keys (application_id, signs_from);

-- One row per request. An event of the application's scope that a successful attempt's range
-- covers, and that `exceptions` does not list, was delivered.
CREATE TABLE attempts (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    application_id  TEXT NOT NULL REFERENCES applications (id),
    source          TEXT NOT NULL,
    from_seq        BIGINT,
    to_seq          BIGINT,
    lane            BIGINT NOT NULL,
    lanes           BIGINT NOT NULL,
    try_number      BIGINT NOT NULL,
    started_at      BIGINT NOT NULL,
    latency_us      BIGINT NOT NULL,
    outcome         TEXT NOT NULL,
    http_status     BIGINT,
    events          BIGINT NOT NULL,
    succeeded       BIGINT NOT NULL,
    skipped         BIGINT NOT NULL,
    failed          BIGINT NOT NULL,
    retried         BIGINT NOT NULL,
    exceptions      TEXT,
    detail          TEXT
);
CREATE INDEX attempts_by_application ON attempts (application_id, id);

-- Events that wait outside the cursor: to be retried, held behind such an event of the same
-- subject, or set aside as failed.
CREATE TABLE parked_events (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    application_id  TEXT NOT NULL REFERENCES applications (id),
    subject_id      TEXT NOT NULL,
    event_id        TEXT NOT NULL,
    event_type      TEXT NOT NULL,
    seq             BIGINT,
    event_time      BIGINT NOT NULL,
    record          TEXT,
    state           TEXT NOT NULL,
    attempts        BIGINT NOT NULL,
    next_try        BIGINT NOT NULL,
    code            TEXT,
    message         TEXT,
    UNIQUE (application_id, event_id)
);
CREATE INDEX parked_events_by_subject ON parked_events (application_id, subject_id, id);

-- Synchronization jobs: full synchronization, and the run of a confirmed change of scope.
CREATE TABLE jobs (
    id              TEXT PRIMARY KEY,
    application_id  TEXT NOT NULL REFERENCES applications (id),
    kind            TEXT NOT NULL,
    trigger         TEXT NOT NULL,
    status          TEXT NOT NULL,
    position_seq    BIGINT NOT NULL,
    progress        TEXT NOT NULL,
    statistics      TEXT NOT NULL,
    error           TEXT,
    created_at      BIGINT NOT NULL,
    started_at      BIGINT,
    ended_at        BIGINT
);
CREATE INDEX jobs_by_application ON jobs (application_id, created_at);
CREATE UNIQUE INDEX jobs_one_open ON jobs (application_id) WHERE status IN ('pending', 'running');

-- The subjects that a change of scope adds or removes, fixed when it is confirmed.
CREATE TABLE job_items (
    job_id        TEXT NOT NULL REFERENCES jobs (id),
    ordinal       BIGINT NOT NULL,
    action        TEXT NOT NULL,
    subject_kind  TEXT NOT NULL,
    subject_id    TEXT NOT NULL,
    record        TEXT,
    PRIMARY KEY (job_id, ordinal)
);
