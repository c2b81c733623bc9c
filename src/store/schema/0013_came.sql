-- What the wallet got of a closed channel, satoshi, once its transactions are known: after all fees.
ALTER TABLE channels ADD COLUMN came_sat INTEGER;
