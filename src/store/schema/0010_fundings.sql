-- Every funding output that a channel had: the first, and then one for each splice, in their order.
CREATE TABLE fundings (
    local_id     TEXT NOT NULL REFERENCES channels (local_id),
    funding      TEXT NOT NULL,
    noted_at     INTEGER NOT NULL,
    height       INTEGER,
    capacity_sat INTEGER,
    PRIMARY KEY (local_id, funding)
) STRICT;
-- What a channel was before its last splice, nobody noted.
INSERT INTO fundings SELECT local_id, funding, seen_at, opened_height, capacity_sat FROM channels
    WHERE funding IS NOT NULL AND spliced_to IS NOT funding;
