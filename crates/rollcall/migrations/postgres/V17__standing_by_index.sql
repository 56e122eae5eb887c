-- Who stands in a unit, and who does so by their primary unit, is read from the index alone.
DROP INDEX unit_members_by_unit;
CREATE INDEX unit_members_by_unit ON unit_members (unit_id, user_id, is_primary);
