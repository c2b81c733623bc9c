CREATE TABLE mark (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO mark VALUES ('clean', 1), ('run', 0);

-- One row: running sums, and the latest instant that was told.
CREATE TABLE totals (
    only            INTEGER PRIMARY KEY CHECK (only = 1),
    grants          INTEGER NOT NULL DEFAULT 0,
    units_sold      INTEGER NOT NULL DEFAULT 0,
    units_left      INTEGER NOT NULL DEFAULT 0,
    units_held      INTEGER NOT NULL DEFAULT 0,
    units_spent     INTEGER NOT NULL DEFAULT 0,
    units_expired   INTEGER NOT NULL DEFAULT 0,
    units_revoked   INTEGER NOT NULL DEFAULT 0,
    restored        INTEGER NOT NULL DEFAULT 0,
    crash_restored  INTEGER NOT NULL DEFAULT 0,
    earned_msat     INTEGER NOT NULL DEFAULT 0,
    owed_msat       INTEGER NOT NULL DEFAULT 0,
    payments        INTEGER NOT NULL DEFAULT 0,
    received_msat   INTEGER NOT NULL DEFAULT 0,
    unredeemed_msat INTEGER NOT NULL DEFAULT 0,
    surplus_msat    INTEGER NOT NULL DEFAULT 0,
    high_water_ms   INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO totals (only) VALUES (1);

-- One row for each token that was redeemed at least once. An unpaid challenge has none.
CREATE TABLE grants (
    payment_hash   BLOB PRIMARY KEY CHECK (length(payment_hash) = 32),
    token_id       BLOB NOT NULL CHECK (length(token_id) = 32),
    service        TEXT NOT NULL,
    route          TEXT NOT NULL,
    price_msat     INTEGER NOT NULL CHECK (price_msat >= 0),
    sold           INTEGER NOT NULL CHECK (sold > 0),
    left_          INTEGER NOT NULL CHECK (left_ >= 0),
    held           INTEGER NOT NULL CHECK (held >= 0),
    spent          INTEGER NOT NULL CHECK (spent >= 0),
    expired        INTEGER NOT NULL CHECK (expired >= 0),
    revoked        INTEGER NOT NULL CHECK (revoked >= 0),
    restored       INTEGER NOT NULL CHECK (restored >= 0),
    loaded         INTEGER NOT NULL CHECK (loaded >= 0),
    crash_restored INTEGER NOT NULL CHECK (crash_restored BETWEEN 0 AND sold),
    redeemed_at    INTEGER NOT NULL,
    valid_until    INTEGER NOT NULL,
    CHECK (sold = left_ + held + spent + expired + revoked)
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_running_out ON grants (valid_until) WHERE left_ > 0;

-- Tokens that the operator took back, redeemed or not.
CREATE TABLE revocations (
    payment_hash BLOB PRIMARY KEY CHECK (length(payment_hash) = 32),
    at           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A unit on its way. The row is gone when its end is known; it is the permission to end it.
CREATE TABLE holds (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_hash BLOB NOT NULL REFERENCES grants (payment_hash),
    opened_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX holds_of_grant ON holds (payment_hash);

CREATE TABLE payments (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_hash  BLOB NOT NULL UNIQUE CHECK (length(payment_hash) = 32),
    amount_msat   INTEGER NOT NULL CHECK (amount_msat >= 0),
    received_at   INTEGER NOT NULL,
    service       TEXT,
    route         TEXT,
    -- The node's run that told it last, and what was told again within one run.
    run           INTEGER NOT NULL,
    surplus_msat  INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Sums by hour, so that no report walks the grants.
CREATE TABLE revenue_hourly (
    hour          INTEGER NOT NULL,
    service       TEXT NOT NULL,
    route         TEXT NOT NULL,
    calls         INTEGER NOT NULL DEFAULT 0,
    earned_msat   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, service, route)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    at   INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE outgoing (
    payment_hash BLOB PRIMARY KEY CHECK (length(payment_hash) = 32),
    bolt11       TEXT NOT NULL,
    amount_msat  INTEGER NOT NULL,
    max_fee_msat INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('intended', 'sent', 'succeeded', 'failed')),
    preimage     BLOB CHECK (preimage IS NULL OR length(preimage) = 32),
    fee_msat     INTEGER,
    reason       TEXT,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX outgoing_open ON outgoing (state) WHERE state IN ('intended', 'sent');

CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    label      TEXT NOT NULL,
    hash       BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    scopes     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
