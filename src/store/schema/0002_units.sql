-- Kinds of offer, units of 64 bits, spends by row.
SELECT 1;
