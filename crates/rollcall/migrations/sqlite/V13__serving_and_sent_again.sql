-- What the hub that was started last says of itself: where it listens, under which address applications reach
-- it, which private networks it may call. Commands beside it, with another configuration perhaps, read it there.
ALTER TABLE instance ADD COLUMN serving TEXT;

-- Which parked events a request carried: no range of the log tells that. And when a request that failed was to be
-- sent again.
ALTER TABLE attempts ADD COLUMN carried TEXT;
ALTER TABLE attempts ADD COLUMN next_try BIGINT;
