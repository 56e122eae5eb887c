-- At most one row: bytes that are known, sealed under the master key. A start with another key is refused.
CREATE TABLE master_key_check (
    id     BIGINT PRIMARY KEY,
    sealed BYTEA NOT NULL
);
