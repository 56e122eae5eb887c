-- What an application said stands apart from what the hub observed, because it may name people: when somebody
-- is erased, it goes.
ALTER TABLE attempts ADD COLUMN said TEXT;
UPDATE attempts SET said = detail, detail = NULL WHERE outcome IN ('refused', 'unreadable_answer');
