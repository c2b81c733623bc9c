-- Where events are sent, and how each delivery stands.
CREATE TABLE webhooks (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    url         TEXT NOT NULL,
    secret      BLOB NOT NULL,
    -- Event kinds, separated by spaces; empty is all.
    kinds       TEXT NOT NULL,
    label       TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    disabled_at INTEGER,
    -- Events after this number become deliveries.
    cursor      INTEGER NOT NULL
) STRICT;

CREATE TABLE deliveries (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook      INTEGER NOT NULL REFERENCES webhooks (id),
    event        INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'parked')),
    attempts     INTEGER NOT NULL DEFAULT 0,
    next_at      INTEGER,
    last_status  INTEGER,
    last_error   TEXT,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX deliveries_once ON deliveries (webhook, event);
CREATE INDEX deliveries_waiting ON deliveries (next_at) WHERE state = 'waiting';
