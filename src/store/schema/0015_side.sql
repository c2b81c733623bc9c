-- All that was ours in a channel before any fee when it was last seen open, millisatoshi; NULL where it was not known.
ALTER TABLE channels ADD COLUMN side_msat INTEGER;
