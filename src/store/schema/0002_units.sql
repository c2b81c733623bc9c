-- Kinds of offer, units of 64 bits, spends by row.

-- Names of services and routes, so that the rows below carry numbers.
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO names (name)
    SELECT service FROM grants UNION SELECT route FROM grants
    UNION SELECT service FROM payments WHERE service IS NOT NULL
    UNION SELECT route FROM payments WHERE route IS NOT NULL
    UNION SELECT service FROM revenue_hourly UNION SELECT route FROM revenue_hourly;

-- One row for each token that was redeemed at least once or granted. An unpaid challenge has none.
-- Units are requests, of a pass its time, and of money millisatoshi.
CREATE TABLE grants_2 (
    id             INTEGER PRIMARY KEY,
    payment_hash   BLOB NOT NULL UNIQUE CHECK (length(payment_hash) = 32),
    token_id       BLOB NOT NULL CHECK (length(token_id) = 32),
    service        INTEGER NOT NULL REFERENCES names (id),
    route          INTEGER NOT NULL REFERENCES names (id),
    kind           TEXT NOT NULL CHECK (kind IN ('request', 'pack', 'pass', 'balance', 'granted')),
    price_msat     INTEGER NOT NULL CHECK (price_msat >= 0),
    quote          TEXT,
    label          TEXT,
    sold           INTEGER NOT NULL CHECK (sold > 0),
    left_          INTEGER NOT NULL CHECK (left_ >= 0),
    held           INTEGER NOT NULL CHECK (held >= 0),
    spent          INTEGER NOT NULL CHECK (spent >= 0),
    expired        INTEGER NOT NULL CHECK (expired >= 0),
    revoked        INTEGER NOT NULL CHECK (revoked >= 0),
    -- Requests that were charged, and those on their way.
    calls          INTEGER NOT NULL CHECK (calls >= 0),
    open           INTEGER NOT NULL CHECK (open >= 0),
    bytes          INTEGER NOT NULL,
    -- Requests that went back, and their units.
    restored       INTEGER NOT NULL,
    crash_restored INTEGER NOT NULL,
    returned       INTEGER NOT NULL,
    loaded         INTEGER NOT NULL,
    crash_returned INTEGER NOT NULL CHECK (crash_returned BETWEEN 0 AND sold),
    -- A pass, and a budget.
    lasts_ms       INTEGER,
    opens_until    INTEGER,
    budget         INTEGER,
    per_ms         INTEGER,
    period         INTEGER,
    redeemed_at    INTEGER NOT NULL,
    valid_until    INTEGER NOT NULL,
    -- When it was told that nothing useful is left; when nothing more could happen to it; and when the
    -- sweep has something to do about it: to let it run out, or to drop its spends.
    exhausted_at   INTEGER,
    over_at        INTEGER,
    due            INTEGER,
    CHECK (sold = left_ + held + spent + expired + revoked)
) STRICT;
INSERT INTO grants_2
    SELECT NULL, payment_hash, token_id, s.id, r.id, iif(sold = 1, 'request', 'pack'), price_msat, NULL, NULL,
           sold, left_, held, spent, expired, revoked, spent, held, 0,
           restored, crash_restored, restored, loaded, crash_restored,
           NULL, NULL, NULL, NULL, NULL, redeemed_at, valid_until, NULL,
           iif(left_ + held = 0, (SELECT high_water_ms FROM totals), NULL),
           iif(left_ + held = 0, (SELECT high_water_ms FROM totals) + 2592000000, valid_until)
    FROM grants JOIN names s ON s.name = service JOIN names r ON r.name = route
    ORDER BY redeemed_at;

-- What one request used up. Dropped when its grant has long been over: the sums by hour stay.
CREATE TABLE spends (
    grant_id    INTEGER NOT NULL,
    -- Counts the grant's calls.
    number      INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    route       INTEGER NOT NULL,
    units       INTEGER NOT NULL,
    earned_msat INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    -- 0 delivered, 1 charged in part, 2 cancelled by the client, 3 charged after a second crash.
    how         INTEGER NOT NULL,
    PRIMARY KEY (grant_id, number)
) STRICT, WITHOUT ROWID;
INSERT INTO spends
    SELECT g.id, row_number() OVER (PARTITION BY g.id ORDER BY e.id), e.at, g.route, 1,
           json_extract(e.body, '$.amount_msat'), 0, 0
    FROM events e JOIN grants_2 g ON g.payment_hash = unhex(json_extract(e.body, '$.payment_hash'))
    WHERE json_extract(e.body, '$.kind') = 'unit_spent';
DELETE FROM events WHERE json_extract(body, '$.kind') = 'unit_spent';

-- What is on its way. The row is gone when its end is known; it is the permission to end it.
CREATE TABLE holds_2 (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    grant_id  INTEGER NOT NULL REFERENCES grants_2 (id),
    units     INTEGER NOT NULL CHECK (units >= 0),
    route     INTEGER NOT NULL,
    opened_at INTEGER NOT NULL
) STRICT;
INSERT INTO holds_2
    SELECT h.id, g.id, 1, g.route, h.opened_at
    FROM holds h JOIN grants_2 g ON g.payment_hash = h.payment_hash;

CREATE TABLE payments_2 (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_hash BLOB NOT NULL UNIQUE CHECK (length(payment_hash) = 32),
    amount_msat  INTEGER NOT NULL CHECK (amount_msat >= 0),
    received_at  INTEGER NOT NULL,
    service      INTEGER REFERENCES names (id),
    route        INTEGER REFERENCES names (id),
    kind         TEXT,
    -- What its invoice asked for, and the price in another currency with its rate.
    asked_msat   INTEGER,
    quote        TEXT,
    -- It came after its invoice had expired.
    late         INTEGER NOT NULL DEFAULT 0,
    -- The node's run that told it last, and what was told again within one run.
    run          INTEGER NOT NULL,
    surplus_msat INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO payments_2
    SELECT p.id, p.payment_hash, p.amount_msat, p.received_at, s.id, r.id, g.kind, g.price_msat, NULL, 0, p.run,
           p.surplus_msat
    FROM payments p LEFT JOIN names s ON s.name = p.service LEFT JOIN names r ON r.name = p.route
         LEFT JOIN grants_2 g ON g.payment_hash = p.payment_hash
    ORDER BY p.id;

-- Sums by hour, so that no report walks the grants.
CREATE TABLE revenue_2 (
    hour          INTEGER NOT NULL,
    service       INTEGER NOT NULL,
    route         INTEGER NOT NULL,
    -- Requests that were paid for, and what they earned.
    calls         INTEGER NOT NULL DEFAULT 0,
    earned_msat   INTEGER NOT NULL DEFAULT 0,
    -- Requests of granted tokens, and what they used.
    granted_calls INTEGER NOT NULL DEFAULT 0,
    granted_msat  INTEGER NOT NULL DEFAULT 0,
    -- Requests that passed in shadow mode, and what they would have been charged.
    shadow_calls  INTEGER NOT NULL DEFAULT 0,
    shadow_msat   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, service, route)
) STRICT, WITHOUT ROWID;
INSERT INTO revenue_2 (hour, service, route, calls, earned_msat)
    SELECT hour, s.id, r.id, calls, earned_msat
    FROM revenue_hourly JOIN names s ON s.name = service JOIN names r ON r.name = route;

-- The same by day, for the questions that go back a year.
CREATE TABLE revenue_daily (
    day           INTEGER NOT NULL,
    service       INTEGER NOT NULL,
    route         INTEGER NOT NULL,
    calls         INTEGER NOT NULL DEFAULT 0,
    earned_msat   INTEGER NOT NULL DEFAULT 0,
    granted_calls INTEGER NOT NULL DEFAULT 0,
    granted_msat  INTEGER NOT NULL DEFAULT 0,
    shadow_calls  INTEGER NOT NULL DEFAULT 0,
    shadow_msat   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, service, route)
) STRICT, WITHOUT ROWID;
INSERT INTO revenue_daily (day, service, route, calls, earned_msat)
    SELECT hour / 24, service, route, SUM(calls), SUM(earned_msat) FROM revenue_2 GROUP BY 1, 2, 3;

DROP TABLE holds;
DROP TABLE grants;
DROP TABLE payments;
DROP TABLE revenue_hourly;
ALTER TABLE grants_2 RENAME TO grants;
ALTER TABLE holds_2 RENAME TO holds;
ALTER TABLE payments_2 RENAME TO payments;
ALTER TABLE revenue_2 RENAME TO revenue_hourly;
CREATE INDEX grants_due ON grants (due) WHERE due IS NOT NULL;
CREATE INDEX grants_live ON grants (id) WHERE over_at IS NULL;
CREATE INDEX grants_of_service ON grants (service);
CREATE INDEX grants_labelled ON grants (label) WHERE label IS NOT NULL;

-- A grant with its names.
CREATE VIEW grants_named AS
    SELECT g.*, s.name AS service_name, r.name AS route_name,
           EXISTS (SELECT 1 FROM revocations v WHERE v.payment_hash = g.payment_hash) AS barred
    FROM grants g JOIN names s ON s.id = g.service JOIN names r ON r.id = g.route;

-- The running sums of what is new; those of before stay as they are.
ALTER TABLE totals ADD COLUMN calls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN holds_open INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN balance_sold_msat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN balance_left_msat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN balance_held_msat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN balance_spent_msat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN balance_expired_msat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN balance_revoked_msat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN granted_sold_msat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN granted_left_msat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN granted_held_msat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN granted_spent_msat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN granted_expired_msat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN granted_revoked_msat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN lapsed_msat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN overpaid_msat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN payments_late INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN payments_unknown INTEGER NOT NULL DEFAULT 0;
UPDATE totals SET
    calls = units_spent,
    holds_open = units_held,
    lapsed_msat = (SELECT COALESCE(SUM(price_msat * (spent + expired + revoked) / sold - price_msat * spent / sold), 0)
                   FROM grants),
    overpaid_msat = (SELECT COALESCE(SUM(max(amount_msat - asked_msat, 0)), 0) FROM payments),
    payments_unknown = (SELECT COUNT(*) FROM payments WHERE service IS NULL);
