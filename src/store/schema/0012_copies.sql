-- When the copy was made that a life of the ledger began with, where it began with one that was brought back.
ALTER TABLE generations ADD COLUMN copy_made_at INTEGER;

-- What the wallet got of a closed channel, satoshi, once its transactions are known: after all fees.
ALTER TABLE channels ADD COLUMN came_sat INTEGER;
