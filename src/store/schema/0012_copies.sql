-- When the copy was made that a life of the ledger began with, where it began with one that was brought back.
ALTER TABLE generations ADD COLUMN copy_made_at INTEGER;
