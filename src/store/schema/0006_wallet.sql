-- Keys that may pay within limits. A limit is for amount and fee together.
CREATE TABLE wallets (
    key_id           INTEGER PRIMARY KEY REFERENCES api_keys (id),
    per_day_msat     INTEGER NOT NULL CHECK (per_day_msat > 0),
    per_payment_msat INTEGER NOT NULL CHECK (per_payment_msat BETWEEN 1 AND per_day_msat)
) STRICT;

-- Which wallet asked for a payment, and the day (UTC, counted from 1970) whose budget it draws on. What it takes
-- stands in `outgoing`: the amount and the highest fee until its end is known, the amount and the fee when it
-- arrived, nothing when it failed. So no end is ever noted in one place and not in the other.
CREATE TABLE wallet_payments (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_hash BLOB NOT NULL UNIQUE REFERENCES outgoing (payment_hash),
    key_id       INTEGER NOT NULL REFERENCES wallets (key_id),
    day          INTEGER NOT NULL
) STRICT;
CREATE INDEX wallet_payments_by_day ON wallet_payments (key_id, day);
CREATE INDEX wallet_payments_by_key ON wallet_payments (key_id);
