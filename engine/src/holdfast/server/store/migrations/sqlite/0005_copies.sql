-- copied: of a replica, that another file may hold what it sends; of a transaction, that it was sent by such a
-- one, or may have been in its file when that was copied. Those are found by their id.
ALTER TABLE holdfast_replica ADD COLUMN copied INTEGER NOT NULL DEFAULT 0;
ALTER TABLE holdfast_applied ADD COLUMN copied INTEGER NOT NULL DEFAULT 0;
UPDATE holdfast_replica SET copied = 1 WHERE device IN (
    SELECT f.device FROM holdfast_replica AS f WHERE f.origin <> ''
    UNION SELECT o.device FROM holdfast_replica AS f JOIN holdfast_replica AS o ON o.replica = f.origin);
UPDATE holdfast_applied SET copied = 1
WHERE replica IN (SELECT replica FROM holdfast_replica WHERE copied = 1);
CREATE INDEX holdfast_applied_copied ON holdfast_applied (id) WHERE copied = 1;
