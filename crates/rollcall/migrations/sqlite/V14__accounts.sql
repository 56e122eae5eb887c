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
    must_change_password INTEGER NOT NULL,
    disabled             INTEGER NOT NULL,
    create_time          INTEGER NOT NULL,
    update_time          INTEGER NOT NULL,
    last_sign_in         INTEGER
);
CREATE UNIQUE INDEX accounts_name ON accounts (name_folded);

CREATE TABLE sessions (
    hash        TEXT PRIMARY KEY,
    id          TEXT NOT NULL,
    account_id  TEXT NOT NULL REFERENCES accounts (id),
    created_at  INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    address     TEXT,
    user_agent  TEXT
);
CREATE UNIQUE INDEX sessions_by_id ON sessions (id);
CREATE INDEX sessions_by_account ON sessions (account_id);

-- Sign-ins that failed of late, by account and by address; `subject` is a hash.
CREATE TABLE sign_in_failures (
    subject        TEXT PRIMARY KEY,
    failures       INTEGER NOT NULL,
    last_at        INTEGER NOT NULL,
    blocked_until  INTEGER NOT NULL
);

CREATE TABLE api_tokens (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    prefix        TEXT NOT NULL,
    hash          TEXT NOT NULL,
    role          TEXT NOT NULL,
    applications  TEXT NOT NULL,
    created_by    TEXT NOT NULL,
    create_time   INTEGER NOT NULL,
    expires_at    INTEGER,
    last_used     INTEGER
);
CREATE UNIQUE INDEX api_tokens_hash ON api_tokens (hash);
