-- What of a channel would be ours if it were closed, when it was last seen open: all that is left to say of one whose
-- coins came home before the node looked.
ALTER TABLE channels ADD COLUMN last_sat INTEGER;
ALTER TABLE channels ADD COLUMN last_at INTEGER;
ALTER TABLE channels ADD COLUMN last_height INTEGER;
