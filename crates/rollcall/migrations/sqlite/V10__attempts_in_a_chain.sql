-- The attempts of an application are a chain: `deliveries.last_attempt` is the newest one, and each names the one
-- before it. An index by application would be touched at another page for each application, so that a commit
-- with the settlements of many would write many times what they say.
ALTER TABLE deliveries ADD COLUMN last_attempt INTEGER;
ALTER TABLE attempts ADD COLUMN previous INTEGER;
UPDATE attempts SET previous = p.previous
    FROM (SELECT id, LAG(id) OVER (PARTITION BY application_id ORDER BY id) AS previous FROM attempts) AS p
    WHERE p.id = attempts.id;
UPDATE deliveries SET last_attempt =
    (SELECT MAX(id) FROM attempts WHERE attempts.application_id = deliveries.application_id);
DROP INDEX attempts_by_application;
