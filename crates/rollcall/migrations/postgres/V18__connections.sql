-- Connections: identity providers and other directories that feed this one by SCIM. Of their tokens only SHA-256 hashes
-- are kept.
CREATE TABLE connections (
    id                  TEXT PRIMARY KEY,
    name                TEXT NOT NULL,
    name_folded         TEXT NOT NULL,
    -- Where new users come to stand.
    unit_id             TEXT NOT NULL,
    takes_over          TEXT NOT NULL,
    strict              BOOLEAN NOT NULL,
    disabled            BOOLEAN NOT NULL,
    requests_per_second BIGINT NOT NULL,
    -- What differs from the usual mapping, as JSON.
    mapping             TEXT NOT NULL,
    create_time         BIGINT NOT NULL,
    update_time         BIGINT NOT NULL
);
CREATE UNIQUE INDEX connections_name ON connections (name_folded);

CREATE TABLE connection_tokens (
    id            TEXT PRIMARY KEY,
    connection_id TEXT NOT NULL REFERENCES connections (id),
    prefix        TEXT NOT NULL,
    hash          TEXT NOT NULL,
    created_by    TEXT NOT NULL,
    create_time   BIGINT NOT NULL,
    expires_at    BIGINT,
    last_used     BIGINT
);
CREATE UNIQUE INDEX connection_tokens_hash ON connection_tokens (hash);
CREATE INDEX connection_tokens_by_connection ON connection_tokens (connection_id);

-- What a connection has said of the users that are its own: the SCIM resource, which has more than the directory keeps.
-- There is a row exactly as long as the user is the connection's own.
CREATE TABLE connection_users (
    user_id       TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    connection_id TEXT NOT NULL REFERENCES connections (id),
    -- The resource's userName as it is compared, and its externalId.
    user_name     TEXT NOT NULL,
    external_id   TEXT,
    resource      TEXT NOT NULL,
    update_time   BIGINT NOT NULL
);
CREATE INDEX connection_users_by_connection ON connection_users (connection_id, user_id);
CREATE INDEX connection_users_by_user_name ON connection_users (connection_id, user_name);
CREATE INDEX connection_users_by_external_id ON connection_users (connection_id, external_id);
CREATE INDEX groups_by_source ON groups (source_type, source_id, id);
