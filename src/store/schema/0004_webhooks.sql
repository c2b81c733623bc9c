-- Where events are sent, and how each delivery stands.
CREATE TABLE webhooks (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    url           TEXT NOT NULL,
    secret        BLOB NOT NULL,
    -- What it gets, by public names with spaces between; empty is all.
    topics        TEXT NOT NULL,
    label         TEXT NOT NULL,
    -- The operator allowed an address on this machine or a private network.
    allow_private INTEGER NOT NULL CHECK (allow_private IN (0, 1)),
    created_at    INTEGER NOT NULL,
    disabled_at   INTEGER,
    disabled_why  TEXT,
    -- Events up to this number are deliveries already, or none of this endpoint's.
    cursor        INTEGER NOT NULL
) STRICT;

CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook     INTEGER NOT NULL REFERENCES webhooks (id),
    event       INTEGER NOT NULL,
    topic       TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'parked')),
    attempts    INTEGER NOT NULL DEFAULT 0,
    next_at     INTEGER NOT NULL,
    last_status INTEGER,
    last_error  TEXT,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX deliveries_once ON deliveries (webhook, event);
CREATE INDEX deliveries_waiting ON deliveries (webhook, next_at, id) WHERE state = 'waiting';
CREATE INDEX deliveries_parked ON deliveries (webhook, id) WHERE state = 'parked';
CREATE INDEX deliveries_over ON deliveries (updated_at) WHERE state <> 'waiting';
