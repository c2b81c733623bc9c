-- Calls that move coins: noted before anything is asked of the node, ended when its outcome is known (MONEY rule 14).
-- A key (`Idempotency-Key`, or one of our own) names one operation for good. `unclear` is one that a crash left
-- without an outcome: it is never repeated by itself, only looked up or settled by the operator.
CREATE TABLE operations (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    key      TEXT NOT NULL UNIQUE CHECK (length(key) BETWEEN 1 AND 255),
    kind     TEXT NOT NULL,
    ask      TEXT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('intended', 'sent', 'done', 'failed', 'unclear')),
    outcome  TEXT NOT NULL,
    begun_at INTEGER NOT NULL,
    ended_at INTEGER,
    CHECK ((state IN ('done', 'failed')) = (ended_at IS NOT NULL))
) STRICT;
CREATE INDEX operations_open ON operations (id) WHERE ended_at IS NULL;

-- Transactions that changed something: a copy of the file has fewer than the file has later.
ALTER TABLE totals ADD COLUMN steps INTEGER NOT NULL DEFAULT 0;
-- The lives of this ledger (MONEY rule 10). A new one begins where an older copy took the ledger's place: what
-- happened after that copy is not in it, and numbers of events come again.
CREATE TABLE generations (
    generation     INTEGER PRIMARY KEY,
    first_event    INTEGER NOT NULL,
    begun_at       INTEGER NOT NULL,
    why            TEXT NOT NULL,
    -- Tokens of key epochs below this one are refused until they are honoured; 0 when none is.
    doubtful_below INTEGER NOT NULL,
    -- Nothing is sent until the operator says so.
    parked         INTEGER NOT NULL CHECK (parked IN (0, 1))
) STRICT;
INSERT INTO generations VALUES (1, 1, 0, 'first', 0, 0);
-- Tokens that were refused because of that, when they came, and those that the operator honours.
CREATE TABLE doubts (
    payment_hash BLOB PRIMARY KEY CHECK (length(payment_hash) = 32),
    service      INTEGER REFERENCES names (id),
    route        INTEGER REFERENCES names (id),
    kind         TEXT,
    units        INTEGER,
    price_msat   INTEGER,
    presented_at INTEGER,
    honoured_at  INTEGER,
    CHECK (presented_at IS NOT NULL OR honoured_at IS NOT NULL)
) STRICT, WITHOUT ROWID;

-- What the operator told the appliance to keep up by itself, one row for each rule; what a file says wins.
CREATE TABLE rules (
    name       TEXT PRIMARY KEY,
    terms      TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The operator's cold storage, watch-only: at most one is in use; one that was removed keeps its row, so that none
-- of its addresses is handed out twice when it is set again.
CREATE TABLE vaults (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    external   TEXT NOT NULL,
    internal   TEXT,
    form       TEXT NOT NULL,
    gap        INTEGER NOT NULL CHECK (gap > 0),
    birthday   INTEGER,
    set_at     INTEGER NOT NULL,
    scanned_at INTEGER,
    removed_at INTEGER
) STRICT;
CREATE UNIQUE INDEX vaults_in_use ON vaults ((removed_at IS NULL)) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX vaults_keys ON vaults (external, ifnull(internal, ''));
-- What the wallet library learnt, step by step; their sum is its state.
CREATE TABLE vault_changes (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    vault  INTEGER NOT NULL REFERENCES vaults (id),
    change BLOB NOT NULL
) STRICT;
CREATE INDEX vault_changes_of ON vault_changes (vault, id);
-- The addresses that were handed out, each for one deposit.
CREATE TABLE vault_addresses (
    vault    INTEGER NOT NULL REFERENCES vaults (id),
    number   INTEGER NOT NULL,
    address  TEXT NOT NULL,
    deposit  TEXT NOT NULL,
    given_at INTEGER NOT NULL,
    PRIMARY KEY (vault, number),
    UNIQUE (vault, deposit)
) STRICT, WITHOUT ROWID;
-- What an LSP kept back of a payment for the channel that it opened for it: a cost, no missing money.
-- `amount_msat` is what was paid, that part included.
ALTER TABLE payments ADD COLUMN opening_fee_msat INTEGER NOT NULL DEFAULT 0 CHECK (opening_fee_msat >= 0);
ALTER TABLE totals ADD COLUMN opening_fees_msat INTEGER NOT NULL DEFAULT 0;
-- What a person should know of, from when it is raised until it is over. One that a single event raised, such as a
-- closed channel, holds until a time. `watched` counts the events that were looked at for such.
CREATE TABLE alarms (
    code        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    severity    TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    text        TEXT NOT NULL,
    fix         TEXT NOT NULL,
    raised_at   INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    holds_until INTEGER,
    PRIMARY KEY (code, subject)
) STRICT, WITHOUT ROWID;
INSERT INTO mark VALUES ('watched', (SELECT COALESCE(MAX(id), 0) FROM events));

-- Channels that were ordered from an LSP (bLIP-51), until they are there or the money is back. How one is paid is
-- chosen before anything is paid, and never changes.
CREATE TABLE channel_orders (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    lsp        TEXT NOT NULL,
    order_id   TEXT NOT NULL,
    ask        TEXT NOT NULL,
    told       TEXT NOT NULL,
    state      TEXT NOT NULL
        CHECK (state IN ('quoted', 'paying', 'paid', 'opened', 'refunded', 'expired', 'failed')),
    way        TEXT CHECK (way IN ('lightning', 'onchain')),
    placed_at  INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    UNIQUE (lsp, order_id)
) STRICT;
CREATE INDEX channel_orders_open ON channel_orders (id) WHERE state IN ('quoted', 'paying', 'paid');
-- Every channel from when it was first seen to when all that it owed us is in the wallet: the node forgets one when it
-- is closed. Heights are of blocks; `owed_sat` is what was ours in it when it closed, `claim_sat` what of that is
-- still to come and `claim_height` when at the latest the contract gives it out.
CREATE TABLE channels (
    local_id        TEXT PRIMARY KEY,
    channel_id      TEXT NOT NULL,
    peer            TEXT NOT NULL,
    funding         TEXT,
    capacity_sat    INTEGER NOT NULL,
    outbound        INTEGER NOT NULL,
    announced       INTEGER NOT NULL,
    seen_at         INTEGER NOT NULL,
    opened_height   INTEGER,
    closed_at       INTEGER,
    closed_height   INTEGER,
    cause           TEXT,
    reason          TEXT,
    closing_txid    TEXT,
    spliced_to      TEXT,
    owed_sat        INTEGER NOT NULL DEFAULT 0,
    claim_sat       INTEGER NOT NULL DEFAULT 0,
    claim_height    INTEGER,
    returned_height INTEGER
) STRICT;
CREATE INDEX channels_closed ON channels (closed_at) WHERE closed_at IS NOT NULL;
CREATE TABLE sweeps (
    local_id         TEXT NOT NULL REFERENCES channels (local_id),
    txid             TEXT NOT NULL,
    amount_sat       INTEGER NOT NULL,
    sent_height      INTEGER,
    confirmed_height INTEGER,
    PRIMARY KEY (local_id, txid)
) STRICT;
-- A key for a program may end by itself.
ALTER TABLE api_keys ADD COLUMN expires_at INTEGER;

-- The log by kind, without what every sale writes: the rest is found however rare it is among the sales.
CREATE INDEX events_of_kind ON events (json_extract(body, '$.kind'))
    WHERE json_extract(body, '$.kind') NOT IN ('payment_received', 'sale_attributed');
-- Money that went out, in the order in which it arrived.
CREATE INDEX outgoing_arrived ON outgoing (updated_at, payment_hash) WHERE state = 'succeeded';

-- Payments that were demanded, those that came, and requests whose unit went back; counted from here on.
ALTER TABLE revenue_hourly ADD COLUMN demands INTEGER NOT NULL DEFAULT 0;
ALTER TABLE revenue_hourly ADD COLUMN sales INTEGER NOT NULL DEFAULT 0;
ALTER TABLE revenue_hourly ADD COLUMN restored INTEGER NOT NULL DEFAULT 0;
ALTER TABLE revenue_daily ADD COLUMN demands INTEGER NOT NULL DEFAULT 0;
ALTER TABLE revenue_daily ADD COLUMN sales INTEGER NOT NULL DEFAULT 0;
ALTER TABLE revenue_daily ADD COLUMN restored INTEGER NOT NULL DEFAULT 0;
-- The rate that was known when a payment arrived, such as `64000 USD` for one bitcoin.
ALTER TABLE payments ADD COLUMN rate TEXT;
-- Money that came, by its time.
CREATE INDEX payments_arrived ON payments (received_at, id);
-- What came, by the hour and by the currency whose rate was known then; none is the empty one.
CREATE TABLE received_hourly (
    hour          INTEGER NOT NULL,
    currency      TEXT NOT NULL,
    payments      INTEGER NOT NULL,
    received_msat INTEGER NOT NULL,
    -- What it was worth as it came, in millionths of the currency's unit.
    millionths    INTEGER NOT NULL,
    PRIMARY KEY (hour, currency)
) STRICT, WITHOUT ROWID;
INSERT INTO received_hourly
    SELECT received_at / 3600000, '', COUNT(*), SUM(amount_msat), 0 FROM payments GROUP BY 1;
