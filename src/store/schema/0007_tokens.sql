-- The key epoch of a token that was paid for and not presented yet, so that retiring an epoch can say
-- what it takes. Forgotten when the token comes: then its grant knows.
ALTER TABLE payments ADD COLUMN waiting_epoch INTEGER;
CREATE INDEX payments_waiting ON payments (waiting_epoch) WHERE waiting_epoch IS NOT NULL;
