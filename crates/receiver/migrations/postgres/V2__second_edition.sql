-- Only what is final and good is remembered: an event that failed is tried again if it is sent again.
DELETE FROM received_events WHERE verdict NOT IN ('success', 'skipped');
ALTER TABLE received_events DROP COLUMN code;

-- An event that is sent again is looked for among those that were set aside.
CREATE INDEX inbox_events_by_event ON inbox_events (event_id);
