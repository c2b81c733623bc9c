-- What is sold: one row for each service, in its canonical JSON form.
CREATE TABLE services (
    name       TEXT PRIMARY KEY,
    spec       TEXT NOT NULL,
    -- The file that owns it, when one does: then it is edited there and nowhere else.
    owner      TEXT,
    position   INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
