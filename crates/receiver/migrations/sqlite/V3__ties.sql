-- Of two events of the same time, the one that was stored later is the newer: `stored` is the number under which the
-- event is stored that gave the subject its time. Zero for what was handled before.
ALTER TABLE inbox_subjects ADD COLUMN stored INTEGER NOT NULL DEFAULT 0;
-- Whether that event said that the subject is gone.
ALTER TABLE inbox_subjects ADD COLUMN gone INTEGER NOT NULL DEFAULT FALSE;
