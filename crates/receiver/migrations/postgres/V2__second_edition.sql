-- Only what is final and good is remembered: an event that failed is tried again if it is sent again.
DELETE FROM received_events WHERE verdict NOT IN ('success', 'skipped');
ALTER TABLE received_events DROP COLUMN code;

-- An event that is sent again is looked for among those that were set aside.
CREATE INDEX inbox_events_by_event ON inbox_events (event_id);

-- The ranges of ids of which an inventory has told: an id in such a range that has no row in the mirror is
-- as if it had been deleted then. `through_id` is null where the range has no end; `group_id` is empty
-- but for the members of a group.
CREATE TABLE received_inventories (
    kind         TEXT COLLATE "C" NOT NULL,
    group_id     TEXT COLLATE "C" NOT NULL,
    after_id     TEXT COLLATE "C" NOT NULL,
    through_id   TEXT COLLATE "C",
    event_time   BIGINT NOT NULL,
    received_at  BIGINT NOT NULL
);
CREATE INDEX received_inventories_by_kind ON received_inventories (kind, group_id);
CREATE INDEX received_inventories_by_time ON received_inventories (received_at);

-- The subjects of the inbox by their kinds; `deletion` is the last one of a user or group. The earlier
-- table did not tell the kinds apart, so what it knew holds for each.
ALTER TABLE inbox_subjects RENAME TO inbox_subjects_v1;
CREATE TABLE inbox_subjects (
    kind        TEXT COLLATE "C" NOT NULL,
    group_id    TEXT COLLATE "C" NOT NULL,
    subject     TEXT COLLATE "C" NOT NULL,
    event_time  BIGINT NOT NULL,
    PRIMARY KEY (kind, group_id, subject)
);
INSERT INTO inbox_subjects (kind, group_id, subject, event_time)
SELECT 'deletion', '', substr(subject, 9), event_time FROM inbox_subjects_v1 WHERE subject LIKE 'deleted:%';
INSERT INTO inbox_subjects (kind, group_id, subject, event_time)
SELECT 'group_member', substr(subject, 1, strpos(subject, '/') - 1), substr(subject, strpos(subject, '/') + 1), event_time
FROM inbox_subjects_v1 WHERE subject LIKE '%/%' AND subject NOT LIKE 'deleted:%';
INSERT INTO inbox_subjects (kind, group_id, subject, event_time)
SELECT kinds.kind, '', subject, event_time
FROM inbox_subjects_v1
CROSS JOIN (SELECT 'user' AS kind UNION ALL SELECT 'organizational_unit' UNION ALL SELECT 'group') kinds
WHERE subject NOT LIKE '%/%' AND subject NOT LIKE 'deleted:%';
DROP TABLE inbox_subjects_v1;

-- Ids are compared byte by byte, as on SQLite: an inventory tells of a range of them.
ALTER TABLE mirror_users ALTER COLUMN user_id TYPE TEXT COLLATE "C";
ALTER TABLE mirror_organizational_units ALTER COLUMN unit_id TYPE TEXT COLLATE "C";
ALTER TABLE mirror_memberships ALTER COLUMN user_id TYPE TEXT COLLATE "C";
ALTER TABLE mirror_memberships ALTER COLUMN unit_id TYPE TEXT COLLATE "C";
ALTER TABLE mirror_groups ALTER COLUMN group_id TYPE TEXT COLLATE "C";
ALTER TABLE mirror_group_members ALTER COLUMN group_id TYPE TEXT COLLATE "C";
ALTER TABLE mirror_group_members ALTER COLUMN user_id TYPE TEXT COLLATE "C";
