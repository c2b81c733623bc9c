-- What holders of a token allow others of it: one row for each limit that is in use or was used. It is
-- kept as long as the single spends of its grant.
CREATE TABLE counters (
    id       INTEGER PRIMARY KEY,
    grant_id INTEGER NOT NULL REFERENCES grants (id),
    -- A digest of the token's chain of signatures up to the limit.
    name     BLOB NOT NULL CHECK (length(name) = 32),
    -- The first limit of the chain, when this is not it.
    below    INTEGER REFERENCES counters (id),
    counts   TEXT NOT NULL CHECK (counts IN ('uses', 'msat')),
    most     INTEGER NOT NULL CHECK (most >= 0),
    used     INTEGER NOT NULL CHECK (used >= 0),
    held     INTEGER NOT NULL CHECK (held >= 0),
    CHECK (used <= most - held),
    UNIQUE (grant_id, name)
) STRICT;
CREATE INDEX counters_below ON counters (below) WHERE below IS NOT NULL;

-- What a hold holds of each of them.
CREATE TABLE counted (
    hold    INTEGER NOT NULL,
    counter INTEGER NOT NULL REFERENCES counters (id),
    units   INTEGER NOT NULL CHECK (units >= 0),
    PRIMARY KEY (hold, counter)
) STRICT, WITHOUT ROWID;
CREATE INDEX counted_in ON counted (counter);

-- How many counters a hold counts in: none, unless its token was limited.
ALTER TABLE holds ADD COLUMN limits INTEGER NOT NULL DEFAULT 0;
