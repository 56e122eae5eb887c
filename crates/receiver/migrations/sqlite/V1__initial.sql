-- The receiver's tables. Ids and texts as they arrive; times are integers of milliseconds.

-- Events that were taken, by their ids, so that none is applied twice, and what was answered. The inbox
-- and the mirror may share a database; each takes every event (`taken_by`).
CREATE TABLE received_events (
    taken_by     TEXT NOT NULL,
    event_id     TEXT NOT NULL,
    received_at  INTEGER NOT NULL,
    verdict      TEXT NOT NULL,
    code         TEXT NOT NULL,
    message      TEXT NOT NULL,
    PRIMARY KEY (taken_by, event_id)
);
CREATE INDEX received_events_by_time ON received_events (received_at);

-- The mirror. A subject that was deleted leaves its id and time, so that an older event that arrives
-- late does not bring it back. `deleted_time` is its last deletion, also after it was created again.
CREATE TABLE mirror_users (
    user_id              TEXT PRIMARY KEY,
    event_time           INTEGER NOT NULL,
    deleted              INTEGER NOT NULL,
    deleted_time         INTEGER,
    username             TEXT,
    display_name         TEXT,
    email                TEXT,
    phone_region         TEXT,
    phone_number         TEXT,
    status               TEXT,
    external_id          TEXT,
    description          TEXT,
    account_expire_time  INTEGER,
    lock_expire_time     INTEGER,
    password_event_time  INTEGER
);

CREATE TABLE mirror_organizational_units (
    unit_id      TEXT PRIMARY KEY,
    event_time   INTEGER NOT NULL,
    deleted      INTEGER NOT NULL,
    deleted_time INTEGER,
    parent_id    TEXT,
    name         TEXT,
    external_id  TEXT,
    description  TEXT
);

CREATE TABLE mirror_memberships (
    user_id     TEXT NOT NULL,
    unit_id     TEXT NOT NULL,
    is_primary  INTEGER NOT NULL,
    PRIMARY KEY (user_id, unit_id)
);
CREATE INDEX mirror_memberships_by_unit ON mirror_memberships (unit_id);

CREATE TABLE mirror_groups (
    group_id     TEXT PRIMARY KEY,
    event_time   INTEGER NOT NULL,
    deleted      INTEGER NOT NULL,
    deleted_time INTEGER,
    name         TEXT,
    external_id  TEXT,
    description  TEXT
);

-- Each pair has a time of its own: events of membership tell of some pairs only.
CREATE TABLE mirror_group_members (
    group_id    TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    event_time  INTEGER NOT NULL,
    present     INTEGER NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX mirror_group_members_by_user ON mirror_group_members (user_id);

-- The inbox: events that are acknowledged and wait for the handler.
CREATE TABLE inbox_events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id    TEXT NOT NULL,
    event_type  TEXT NOT NULL,
    event_time  INTEGER NOT NULL,
    biz_id      TEXT NOT NULL,
    biz_data    TEXT NOT NULL,
    state       TEXT NOT NULL,
    attempts    INTEGER NOT NULL,
    next_try    INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    message     TEXT
);
CREATE INDEX inbox_events_by_state ON inbox_events (state, next_try, id);
CREATE INDEX inbox_events_by_time ON inbox_events (received_at);
CREATE INDEX inbox_events_by_subject ON inbox_events (biz_id, id);

-- The time of the newest event that was handled, by subject: a user, a unit, a group, a user in a group.
CREATE TABLE inbox_subjects (
    subject     TEXT PRIMARY KEY,
    event_time  INTEGER NOT NULL
);
