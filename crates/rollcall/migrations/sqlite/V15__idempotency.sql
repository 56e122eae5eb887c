-- Requests that are carried out once, however often they are sent: under keys of their callers. Neither keys nor
-- requests are kept, only hashes of them; answers, which may hold secrets, are sealed under the master key.
CREATE TABLE idempotency_keys (
    id       TEXT PRIMARY KEY,
    request  TEXT NOT NULL,
    -- Which of several who carry out the same.
    attempt  TEXT NOT NULL,
    -- Set by the transaction that does the work.
    done     BOOLEAN NOT NULL,
    begun_at BIGINT NOT NULL,
    status   BIGINT,
    answer   BLOB
);
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (begun_at);
