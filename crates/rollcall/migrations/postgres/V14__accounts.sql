-- Who may do what: accounts of people, their sessions, and tokens of programs. Passwords are Argon2id hashes; of the
-- tokens of sessions and programs only SHA-256 hashes are kept.
CREATE TABLE accounts (
    id                   TEXT PRIMARY KEY,
    name                 TEXT NOT NULL,
    name_folded          TEXT NOT NULL,
    display_name         TEXT,
    email                TEXT,
    role                 TEXT NOT NULL,
    -- The ids of the applications that an owner has, as JSON.
    applications         TEXT NOT NULL,
    -- Null for somebody who signs in elsewhere.
    password_hash        TEXT,
    must_change_password BOOLEAN NOT NULL,
    disabled             BOOLEAN NOT NULL,
    create_time          BIGINT NOT NULL,
    update_time          BIGINT NOT NULL,
    last_sign_in         BIGINT
);
CREATE UNIQUE INDEX accounts_name ON accounts (name_folded);

CREATE TABLE sessions (
    hash        TEXT PRIMARY KEY,
    id          TEXT NOT NULL,
    account_id  TEXT NOT NULL REFERENCES accounts (id),
    created_at  BIGINT NOT NULL,
    seen_at     BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    address     TEXT,
    user_agent  TEXT
);
CREATE UNIQUE INDEX sessions_by_id ON sessions (id);
CREATE INDEX sessions_by_account ON sessions (account_id);

-- Sign-ins that failed of late, by account and by address; `subject` is a hash.
CREATE TABLE sign_in_failures (
    subject        TEXT PRIMARY KEY,
    failures       BIGINT NOT NULL,
    last_at        BIGINT NOT NULL,
    blocked_until  BIGINT NOT NULL
);

CREATE TABLE api_tokens (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    prefix        TEXT NOT NULL,
    hash          TEXT NOT NULL,
    role          TEXT NOT NULL,
    applications  TEXT NOT NULL,
    created_by    TEXT NOT NULL,
    create_time   BIGINT NOT NULL,
    expires_at    BIGINT,
    last_used     BIGINT
);
CREATE UNIQUE INDEX api_tokens_hash ON api_tokens (hash);
