-- The dearest request that a unit of a request or a pack opens, as its token says; of what was redeemed before this
-- was noted, nothing.
ALTER TABLE grants ADD COLUMN covers_msat INTEGER;
