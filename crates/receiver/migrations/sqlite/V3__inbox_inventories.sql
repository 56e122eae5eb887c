-- Of two events of the same time, the one that was stored later is the newer: `stored` is the number under which the
-- event is stored that gave the subject its time. Zero for what was handled before.
ALTER TABLE inbox_subjects ADD COLUMN stored INTEGER NOT NULL DEFAULT 0;
-- Whether that event said that the subject is gone.
ALTER TABLE inbox_subjects ADD COLUMN gone INTEGER NOT NULL DEFAULT FALSE;

-- The ranges of ids of which an inventory has told that the handler has taken: an id in such a range of which nothing
-- else is known is as if it had been deleted then.
CREATE TABLE inbox_inventories (
    kind         TEXT NOT NULL,
    group_id     TEXT NOT NULL,
    after_id     TEXT NOT NULL,
    through_id   TEXT,
    event_time   INTEGER NOT NULL,
    received_at  INTEGER NOT NULL
);
CREATE INDEX inbox_inventories_by_kind ON inbox_inventories (kind, group_id);
CREATE INDEX inbox_inventories_by_time ON inbox_inventories (received_at);
