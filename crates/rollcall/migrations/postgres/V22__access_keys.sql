-- By what requests are signed, sealed: of tokens that are access keys.
ALTER TABLE api_tokens ADD COLUMN signing_secret BYTEA;

-- What signed requests named so that nobody can send them a second time.
CREATE TABLE used_nonces (
    token_id   TEXT NOT NULL,
    nonce      TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (token_id, nonce)
);
CREATE INDEX used_nonces_by_expiry ON used_nonces (expires_at);
