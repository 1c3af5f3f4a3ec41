-- Generations of the schema that this database has had; kept: its devices are served; ceased: when it was
-- seen first that it is not the current one (microseconds since 1970).
CREATE TABLE holdfast_generation (
    generation  INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    schema      TEXT NOT NULL,
    kept        INTEGER NOT NULL DEFAULT 1,
    ceased      INTEGER
) STRICT;

-- older: digests of the rows as older generations see them, JSON {generation: [count, digest]}.
ALTER TABLE holdfast_scope ADD COLUMN older TEXT NOT NULL DEFAULT '{}';

-- generation: whose digest it is; older: as above.
ALTER TABLE holdfast_commit ADD COLUMN generation INTEGER NOT NULL DEFAULT 1;
ALTER TABLE holdfast_commit ADD COLUMN older TEXT NOT NULL DEFAULT '{}';
UPDATE holdfast_commit SET generation =
    (SELECT coalesce(json_extract(schema, '$.generation'), 1) FROM holdfast_state);

-- older: hashes of the row as older generations see it, MessagePack {generation: hash}, where they are
-- others; deviates: the newest generation from which a device that comes lacks something of the row.
ALTER TABLE holdfast_feed ADD COLUMN older BLOB;
ALTER TABLE holdfast_feed ADD COLUMN deviates INTEGER NOT NULL DEFAULT 0;
CREATE INDEX holdfast_feed_deviates ON holdfast_feed (scope, deviates) WHERE deviates > 0;

-- The generation that it speaks; 0: not known.
ALTER TABLE holdfast_device ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
