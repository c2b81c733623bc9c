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
