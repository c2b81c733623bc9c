-- Of a payment whose token did not come yet: how many units it bought, the dearest request that one of them opens, and
-- until when. So that a change of prices can say whom it touches. Forgotten when the token comes: then its grant knows.
ALTER TABLE payments ADD COLUMN waiting_units INTEGER;
ALTER TABLE payments ADD COLUMN waiting_covers_msat INTEGER;
ALTER TABLE payments ADD COLUMN waiting_until INTEGER;
CREATE INDEX payments_not_come ON payments (waiting_until) WHERE waiting_until IS NOT NULL;
