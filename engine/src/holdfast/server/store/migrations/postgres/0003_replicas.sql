-- A device has replicas: files of its own, one after the other or at once. What was known of a device is
-- known of its first replica, which is called as the device is.
-- place: among the device's replicas; origin: the one that it has come out of, whose transactions up to
-- origin_last it may offer again; shared: up to this number they are the origin's own; forgotten: numbers
-- up to here may be remembered no more; backed_up: up to here they are in a backup.
ALTER TABLE holdfast_device RENAME TO holdfast_replica;
ALTER TABLE holdfast_replica RENAME COLUMN device TO replica;
ALTER TABLE holdfast_replica ADD COLUMN device text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE holdfast_replica ADD COLUMN place bigint NOT NULL DEFAULT 1;
ALTER TABLE holdfast_replica ADD COLUMN origin text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE holdfast_replica ADD COLUMN origin_last bigint NOT NULL DEFAULT 0;
ALTER TABLE holdfast_replica ADD COLUMN shared bigint NOT NULL DEFAULT 0;
ALTER TABLE holdfast_replica ADD COLUMN forgotten bigint NOT NULL DEFAULT 0;
ALTER TABLE holdfast_replica ADD COLUMN backed_up bigint NOT NULL DEFAULT 0;
UPDATE holdfast_replica SET device = replica;
CREATE UNIQUE INDEX holdfast_replica_device ON holdfast_replica (device, place);

ALTER TABLE holdfast_applied RENAME COLUMN device TO replica;
UPDATE holdfast_replica AS r SET forgotten = high
WHERE (SELECT count(*) FROM holdfast_applied AS a WHERE a.replica = r.replica) < high;
