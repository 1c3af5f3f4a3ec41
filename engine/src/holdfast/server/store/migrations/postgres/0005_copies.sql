-- copied: of a replica, that another file may hold what it sends; of a transaction, that it was sent by such a
-- one, or may have been in its file when that was copied. Those are found by their id.
ALTER TABLE holdfast_replica ADD COLUMN copied boolean NOT NULL DEFAULT false;
ALTER TABLE holdfast_applied ADD COLUMN copied boolean NOT NULL DEFAULT false;
UPDATE holdfast_replica SET copied = true WHERE device IN (
    SELECT f.device FROM holdfast_replica AS f WHERE f.origin <> ''
    UNION SELECT o.device FROM holdfast_replica AS f JOIN holdfast_replica AS o ON o.replica = f.origin);
UPDATE holdfast_applied SET copied = true
WHERE replica IN (SELECT replica FROM holdfast_replica WHERE copied);
CREATE INDEX holdfast_applied_copied ON holdfast_applied (id) WHERE copied;
