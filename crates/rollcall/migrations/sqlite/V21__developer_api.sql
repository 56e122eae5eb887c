-- What each application may do through the developer API, as JSON.
ALTER TABLE applications ADD COLUMN developer_api TEXT NOT NULL DEFAULT '{}';

-- By which applications prove who they are there. Of a secret only its SHA-256 hash is kept.
CREATE TABLE client_secrets (
    id             TEXT PRIMARY KEY,
    application_id TEXT NOT NULL REFERENCES applications (id),
    prefix         TEXT NOT NULL,
    hash           TEXT NOT NULL,
    created_by     TEXT NOT NULL,
    create_time    INTEGER NOT NULL,
    expires_at     INTEGER,
    last_used      INTEGER
);
CREATE UNIQUE INDEX client_secrets_hash ON client_secrets (hash);
CREATE INDEX client_secrets_by_application ON client_secrets (application_id);

-- Access tokens that are good for nothing before they expire.
CREATE TABLE revoked_access_tokens (
    id         TEXT PRIMARY KEY,
    expires_at INTEGER NOT NULL
);
CREATE INDEX revoked_access_tokens_by_expiry ON revoked_access_tokens (expires_at);

-- Users are looked for by their numbers alone.
CREATE INDEX users_phone_number ON users (phone_number) WHERE phone_number IS NOT NULL;
