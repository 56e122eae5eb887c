-- A key whose `trial` is set (JSON) is published, but signs nothing yet: it takes over once the application
-- has accepted a connection test under it. There is at most one of them at a time.
ALTER TABLE signing_keys ADD COLUMN trial TEXT;

-- A rotation that was under way goes on with its newest key, whose trial is held when it was to sign. The key
-- that signs does not retire before the trial succeeds.
DELETE FROM signing_keys WHERE signs_from > CAST(EXTRACT(EPOCH FROM now()) * 1000 AS BIGINT) AND EXISTS (
    SELECT 1 FROM signing_keys AS other
    WHERE other.application_id = signing_keys.application_id AND other.signs_from > signing_keys.signs_from);
UPDATE signing_keys SET retires_at = NULL, trial = '{"dueAt":' || signs_from || '}'
    WHERE signs_from > CAST(EXTRACT(EPOCH FROM now()) * 1000 AS BIGINT) AND EXISTS (
    SELECT 1 FROM signing_keys AS other
    WHERE other.application_id = signing_keys.application_id AND other.signs_from < signing_keys.signs_from);
UPDATE signing_keys SET retires_at = NULL WHERE trial IS NULL AND signs_from = (
    SELECT MAX(other.signs_from) FROM signing_keys AS other
    WHERE other.application_id = signing_keys.application_id AND other.trial IS NULL);
CREATE UNIQUE INDEX signing_keys_on_trial ON signing_keys (application_id) WHERE trial IS NOT NULL;

-- By which rule the names are folded that are compared without regard to case; the hub folds them anew where that is
-- an earlier one than its own.
ALTER TABLE instance ADD COLUMN folding BIGINT NOT NULL DEFAULT 0;
