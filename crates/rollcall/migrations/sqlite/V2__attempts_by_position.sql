-- Finds the attempts that cover a position of the log ("why did this user not arrive?").
CREATE INDEX attempts_by_position ON attempts (application_id, to_seq) WHERE to_seq IS NOT NULL;
