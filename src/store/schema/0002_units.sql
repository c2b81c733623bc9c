-- Kinds of offer, units of 64 bits, spends by row.
ALTER TABLE holds ADD COLUMN units INTEGER NOT NULL DEFAULT 1;
