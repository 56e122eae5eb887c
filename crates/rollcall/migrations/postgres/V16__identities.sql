-- Accounts of people who sign in at a provider (OpenID Connect): who they are there. Both are null for everybody else.
ALTER TABLE accounts ADD COLUMN issuer TEXT;
ALTER TABLE accounts ADD COLUMN subject TEXT;
CREATE UNIQUE INDEX accounts_identity ON accounts (issuer, subject);
