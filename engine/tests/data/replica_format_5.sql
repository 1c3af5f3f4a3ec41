BEGIN TRANSACTION;
CREATE TABLE holdfast_added (tbl TEXT NOT NULL, name TEXT NOT NULL, generation INTEGER NOT NULL, PRIMARY KEY (tbl, name)) STRICT, WITHOUT ROWID;
CREATE TABLE "holdfast_change_holdfast_conflict" (tx INTEGER NOT NULL, key TEXT NOT NULL, was INTEGER NOT NULL, now INTEGER, base INTEGER NOT NULL DEFAULT 0, bases TEXT, "o_scopes" ANY, "o_table_name" ANY, "o_row_key" ANY, "o_column_name" ANY, "o_kind" ANY, "o_base" ANY, "o_mine" ANY, "o_theirs" ANY, "o_user" ANY, "o_device" ANY, "o_at" ANY, "o_their_user" ANY, "o_their_device" ANY, "o_their_at" ANY, "o_state" ANY, "o_chosen" ANY, "o_settled_by" ANY, "o_settled_at" ANY, "n_scopes" ANY, "n_table_name" ANY, "n_row_key" ANY, "n_column_name" ANY, "n_kind" ANY, "n_base" ANY, "n_mine" ANY, "n_theirs" ANY, "n_user" ANY, "n_device" ANY, "n_at" ANY, "n_their_user" ANY, "n_their_device" ANY, "n_their_at" ANY, "n_state" ANY, "n_chosen" ANY, "n_settled_by" ANY, "n_settled_at" ANY, UNIQUE (key, tx)) STRICT;
CREATE TABLE "holdfast_change_note" (tx INTEGER NOT NULL, key TEXT NOT NULL, was INTEGER NOT NULL, now INTEGER, base INTEGER NOT NULL DEFAULT 0, bases TEXT, "o_text" ANY, "o_n" ANY, "n_text" ANY, "n_n" ANY, UNIQUE (key, tx)) STRICT;
INSERT INTO "holdfast_change_note" VALUES(2,'a',1,1,3963997116170241,NULL,'synced',3,'synced',4);
INSERT INTO "holdfast_change_note" VALUES(3,'b',0,1,0,NULL,NULL,NULL,'queued',0);
CREATE TABLE "holdfast_conflict" (
  "id" TEXT NOT NULL CHECK ("id" GLOB '[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]' AND instr("id", char(0)) = 0),
  "scopes" TEXT NOT NULL DEFAULT '[]' CHECK (("scopes" IS NULL OR json_valid("scopes")) AND instr("scopes", char(0)) = 0 AND length(CAST("scopes" AS BLOB)) <= 4194304),
  "table_name" TEXT NOT NULL CHECK (instr("table_name", char(0)) = 0 AND length(CAST("table_name" AS BLOB)) <= 4194304),
  "row_key" TEXT NOT NULL CHECK (instr("row_key", char(0)) = 0 AND length(CAST("row_key" AS BLOB)) <= 4194304),
  "column_name" TEXT NOT NULL CHECK (instr("column_name", char(0)) = 0 AND length(CAST("column_name" AS BLOB)) <= 4194304),
  "kind" TEXT NOT NULL DEFAULT 'edit' CHECK (instr("kind", char(0)) = 0 AND length(CAST("kind" AS BLOB)) <= 4194304),
  "base" TEXT CHECK (("base" IS NULL OR json_valid("base")) AND instr("base", char(0)) = 0 AND length(CAST("base" AS BLOB)) <= 4194304),
  "mine" TEXT CHECK (("mine" IS NULL OR json_valid("mine")) AND instr("mine", char(0)) = 0 AND length(CAST("mine" AS BLOB)) <= 4194304),
  "theirs" TEXT CHECK (("theirs" IS NULL OR json_valid("theirs")) AND instr("theirs", char(0)) = 0 AND length(CAST("theirs" AS BLOB)) <= 4194304),
  "user" TEXT NOT NULL CHECK (instr("user", char(0)) = 0 AND length(CAST("user" AS BLOB)) <= 4194304),
  "device" TEXT NOT NULL CHECK (instr("device", char(0)) = 0 AND length(CAST("device" AS BLOB)) <= 4194304),
  "at" INTEGER NOT NULL CHECK ("at" BETWEEN -62135596800000000 AND 253402300799999999),
  "their_user" TEXT NOT NULL DEFAULT '' CHECK (instr("their_user", char(0)) = 0 AND length(CAST("their_user" AS BLOB)) <= 4194304),
  "their_device" TEXT NOT NULL DEFAULT '' CHECK (instr("their_device", char(0)) = 0 AND length(CAST("their_device" AS BLOB)) <= 4194304),
  "their_at" INTEGER CHECK ("their_at" BETWEEN -62135596800000000 AND 253402300799999999),
  "state" TEXT NOT NULL DEFAULT 'open' CHECK (instr("state", char(0)) = 0 AND length(CAST("state" AS BLOB)) <= 4194304),
  "chosen" TEXT CHECK (("chosen" IS NULL OR json_valid("chosen")) AND instr("chosen", char(0)) = 0 AND length(CAST("chosen" AS BLOB)) <= 4194304),
  "settled_by" TEXT CHECK (instr("settled_by", char(0)) = 0 AND length(CAST("settled_by" AS BLOB)) <= 4194304),
  "settled_at" INTEGER CHECK ("settled_at" BETWEEN -62135596800000000 AND 253402300799999999),
  PRIMARY KEY ("id")
) STRICT;
CREATE TABLE holdfast_log (seq INTEGER PRIMARY KEY, tbl TEXT NOT NULL, was INTEGER, at INTEGER, c0 ANY, c1 ANY, c2 ANY, c3 ANY, c4 ANY, c5 ANY, c6 ANY, c7 ANY, c8 ANY, c9 ANY, c10 ANY, c11 ANY, c12 ANY, c13 ANY, c14 ANY, c15 ANY, c16 ANY, c17 ANY, c18 ANY) STRICT;
INSERT INTO "holdfast_log" VALUES(1,'note',1,NULL,'b','queued',0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "holdfast_log" VALUES(2,'',0,1796032193380124,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE holdfast_member (
  scope TEXT NOT NULL, tbl TEXT NOT NULL, key TEXT NOT NULL, hash BLOB NOT NULL,
  PRIMARY KEY (scope, tbl, key)
) STRICT, WITHOUT ROWID;
INSERT INTO "holdfast_member" VALUES('main','note','a',X'FBC2D519CA4EE5EB39D9398C8FEF7F56');
CREATE TABLE holdfast_noted (tbl TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO "holdfast_noted" VALUES('note');
CREATE TABLE holdfast_row (
  tbl TEXT NOT NULL, key TEXT NOT NULL, rev INTEGER NOT NULL,
  PRIMARY KEY (tbl, key)
) STRICT, WITHOUT ROWID;
INSERT INTO "holdfast_row" VALUES('note','a',3963997116170241);
CREATE TABLE holdfast_scope (
  scope TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  seal TEXT NOT NULL,
  server_count INTEGER NOT NULL,
  server_digest TEXT NOT NULL,
  count INTEGER NOT NULL,
  digest TEXT NOT NULL,
  hash_key BLOB NOT NULL,
  writable INTEGER NOT NULL,
  told INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO "holdfast_scope" VALUES('main',1,'c09e30acca93a7f995acacbd47260d92',1,'fbc2d519ca4ee5eb39d9398c8fef7f56',1,'fbc2d519ca4ee5eb39d9398c8fef7f56',X'D7DC4D3226031F9D8E433486A5476A987C27EE1A1F19A98BB3EA1ADDCFC4CE2A',1,0);
CREATE TABLE "holdfast_shadow_holdfast_conflict" (key TEXT PRIMARY KEY, present INTEGER NOT NULL, "v_scopes" ANY, "v_table_name" ANY, "v_row_key" ANY, "v_column_name" ANY, "v_kind" ANY, "v_base" ANY, "v_mine" ANY, "v_theirs" ANY, "v_user" ANY, "v_device" ANY, "v_at" ANY, "v_their_user" ANY, "v_their_device" ANY, "v_their_at" ANY, "v_state" ANY, "v_chosen" ANY, "v_settled_by" ANY, "v_settled_at" ANY) STRICT, WITHOUT ROWID;
CREATE TABLE "holdfast_shadow_note" (key TEXT PRIMARY KEY, present INTEGER NOT NULL, "v_text" ANY, "v_n" ANY) STRICT, WITHOUT ROWID;
CREATE TABLE holdfast_state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  applying INTEGER NOT NULL DEFAULT 0,
  open_tx INTEGER NOT NULL DEFAULT 1,
  stamp_us INTEGER NOT NULL DEFAULT 0,
  format INTEGER NOT NULL,
  fingerprint TEXT NOT NULL,
  device TEXT NOT NULL DEFAULT '',
  user TEXT NOT NULL DEFAULT '',
  epoch TEXT NOT NULL DEFAULT '',
  nonce TEXT NOT NULL DEFAULT '',
  next_nonce TEXT NOT NULL DEFAULT '',
  confirmed INTEGER NOT NULL DEFAULT 0,
  offset_us INTEGER,
  offset_error_us INTEGER,
  verified_us INTEGER,
  mismatches INTEGER NOT NULL DEFAULT 0,
  server TEXT NOT NULL DEFAULT '',
  token_file TEXT NOT NULL DEFAULT '',
  sync_request INTEGER NOT NULL DEFAULT 0,
  server_generation INTEGER,
  generation INTEGER NOT NULL DEFAULT 1,
  session TEXT NOT NULL DEFAULT '{}',
  capture TEXT NOT NULL DEFAULT '',
  schema TEXT NOT NULL
) STRICT;
INSERT INTO "holdfast_state" VALUES(1,0,4,1796032193375768,5,'9bd7acc56b50122d8330e7f673c84554','d','u','790797e13e5bce07b0c6264fcf44baea','b051ee03596aeb68','fe7c6c535b90a0c5',1,5044,5137,1796032193354469,0,'','',0,1,1,'{}','1db2b3aeab6fb90f8b7ec9dfefd38cc5','{
  "name": "corpus",
  "tables": [
    {
      "name": "note",
      "key": [
        "id"
      ],
      "columns": [
        {
          "name": "id"
        },
        {
          "name": "text",
          "default": ""
        },
        {
          "name": "n",
          "type": "integer",
          "merge": "counter"
        }
      ],
      "scopes": [
        "main"
      ]
    }
  ]
}');
CREATE TABLE holdfast_tx (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'acked', 'refused', 'held')),
  at INTEGER NOT NULL,
  after TEXT NOT NULL DEFAULT '[]',
  replaces INTEGER NOT NULL DEFAULT 0,
  void TEXT NOT NULL DEFAULT '',
  code TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '',
  field TEXT NOT NULL DEFAULT '',
  held_by INTEGER NOT NULL DEFAULT 0,
  decided_us INTEGER,
  aside INTEGER NOT NULL DEFAULT 0,
  loose INTEGER NOT NULL DEFAULT 0,
  generation INTEGER NOT NULL DEFAULT 1
) STRICT;
INSERT INTO "holdfast_tx" VALUES(2,'17095c0b229f29a5dff0fb412604d3aa','sent',1796032193364295,'[]',0,'','','','',0,NULL,0,0,1);
INSERT INTO "holdfast_tx" VALUES(3,'c5a7f4c47c1a9b4cc4fad1455b41d6b4','pending',1796032193375768,'[]',0,'','','','',0,NULL,0,0,1);
CREATE TABLE "note" (
  "id" TEXT NOT NULL CHECK (instr("id", char(0)) = 0 AND length(CAST("id" AS BLOB)) BETWEEN 1 AND 1024),
  "text" TEXT NOT NULL DEFAULT '' CHECK (instr("text", char(0)) = 0 AND length(CAST("text" AS BLOB)) <= 4194304),
  "n" INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY ("id"),
  CHECK (length(CAST("id" AS BLOB)) <= 1024)
) STRICT;
INSERT INTO "note" VALUES('a','synced',4);
INSERT INTO "note" VALUES('b','in the log',0);
CREATE INDEX holdfast_tx_decided ON holdfast_tx (number) WHERE state NOT IN ('pending', 'sent');
CREATE INDEX holdfast_tx_aside ON holdfast_tx (number) WHERE aside > 0;
CREATE INDEX holdfast_member_row ON holdfast_member (tbl, key);
CREATE INDEX "holdfast_by_tx_note" ON "holdfast_change_note" (tx);
CREATE INDEX "holdfast_makers_note" ON "holdfast_change_note" (key, tx) WHERE was <> now;
CREATE INDEX "holdfast_by_tx_holdfast_conflict" ON "holdfast_change_holdfast_conflict" (tx);
CREATE INDEX "holdfast_makers_holdfast_conflict" ON "holdfast_change_holdfast_conflict" (key, tx) WHERE was <> now;
CREATE TRIGGER holdfast_log_sealed BEFORE UPDATE OF applying ON holdfast_state WHEN NEW.applying AND EXISTS (SELECT 1 FROM holdfast_log) BEGIN SELECT RAISE(ABORT, 'holdfast: the log must be sealed before anything is applied'); END;
CREATE TRIGGER "holdfast_note_before_insert_0" BEFORE INSERT ON "note" WHEN EXISTS (SELECT 1 FROM "note" AS t WHERE t."id" = NEW."id") AND (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 9bd7acc56b50122d8330e7f673c84554 */ INSERT INTO holdfast_log (tbl, was, c0, c1, c2) SELECT 'note', 1, t."id", t."text", t."n" FROM "note" AS t WHERE t."id" = NEW."id"; END;
CREATE TRIGGER "holdfast_note_key" BEFORE UPDATE OF "id" ON "note" WHEN OLD."id" IS NOT NEW."id" BEGIN /* holdfast 9bd7acc56b50122d8330e7f673c84554 */ SELECT RAISE(ABORT, 'holdfast: the key of note never changes'); END;
CREATE TRIGGER "holdfast_note_after_insert" AFTER INSERT ON "note" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 9bd7acc56b50122d8330e7f673c84554 */ INSERT INTO holdfast_log (tbl, was, c0) SELECT 'note', 0, NEW."id"; END;
CREATE TRIGGER "holdfast_note_after_update" AFTER UPDATE OF "text", "n" ON "note" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 9bd7acc56b50122d8330e7f673c84554 */ INSERT INTO holdfast_log (tbl, was, c0, c1, c2) SELECT 'note', 1, OLD."id", OLD."text", OLD."n"; END;
CREATE TRIGGER "holdfast_note_after_delete" AFTER DELETE ON "note" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 9bd7acc56b50122d8330e7f673c84554 */ INSERT INTO holdfast_log (tbl, was, c0, c1, c2) SELECT 'note', 1, OLD."id", OLD."text", OLD."n"; END;
CREATE TRIGGER "holdfast_holdfast_conflict_before_insert_0" BEFORE INSERT ON "holdfast_conflict" WHEN EXISTS (SELECT 1 FROM "holdfast_conflict" AS t WHERE t."id" = NEW."id") AND (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 9bd7acc56b50122d8330e7f673c84554 */ INSERT INTO holdfast_log (tbl, was, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18) SELECT 'holdfast_conflict', 1, t."id", t."scopes", t."table_name", t."row_key", t."column_name", t."kind", t."base", t."mine", t."theirs", t."user", t."device", t."at", t."their_user", t."their_device", t."their_at", t."state", t."chosen", t."settled_by", t."settled_at" FROM "holdfast_conflict" AS t WHERE t."id" = NEW."id"; END;
CREATE TRIGGER "holdfast_holdfast_conflict_key" BEFORE UPDATE OF "id" ON "holdfast_conflict" WHEN OLD."id" IS NOT NEW."id" BEGIN /* holdfast 9bd7acc56b50122d8330e7f673c84554 */ SELECT RAISE(ABORT, 'holdfast: the key of holdfast_conflict never changes'); END;
CREATE TRIGGER "holdfast_holdfast_conflict_after_insert" AFTER INSERT ON "holdfast_conflict" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 9bd7acc56b50122d8330e7f673c84554 */ INSERT INTO holdfast_log (tbl, was, c0) SELECT 'holdfast_conflict', 0, NEW."id"; END;
CREATE TRIGGER "holdfast_holdfast_conflict_after_update" AFTER UPDATE OF "scopes", "table_name", "row_key", "column_name", "kind", "base", "mine", "theirs", "user", "device", "at", "their_user", "their_device", "their_at", "state", "chosen", "settled_by", "settled_at" ON "holdfast_conflict" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 9bd7acc56b50122d8330e7f673c84554 */ INSERT INTO holdfast_log (tbl, was, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18) SELECT 'holdfast_conflict', 1, OLD."id", OLD."scopes", OLD."table_name", OLD."row_key", OLD."column_name", OLD."kind", OLD."base", OLD."mine", OLD."theirs", OLD."user", OLD."device", OLD."at", OLD."their_user", OLD."their_device", OLD."their_at", OLD."state", OLD."chosen", OLD."settled_by", OLD."settled_at"; END;
CREATE TRIGGER "holdfast_holdfast_conflict_after_delete" AFTER DELETE ON "holdfast_conflict" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 9bd7acc56b50122d8330e7f673c84554 */ INSERT INTO holdfast_log (tbl, was, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18) SELECT 'holdfast_conflict', 1, OLD."id", OLD."scopes", OLD."table_name", OLD."row_key", OLD."column_name", OLD."kind", OLD."base", OLD."mine", OLD."theirs", OLD."user", OLD."device", OLD."at", OLD."their_user", OLD."their_device", OLD."their_at", OLD."state", OLD."chosen", OLD."settled_by", OLD."settled_at"; END;
CREATE VIEW holdfast_logged AS WITH grouped AS (SELECT seq, tbl, was, c0 AS k0, (SELECT open_tx FROM holdfast_state) + sum(tbl = '') OVER (ORDER BY seq) AS tx FROM holdfast_log), noted AS (SELECT seq, tbl, was, k0, tx, lag(tx) OVER touches AS earlier FROM grouped WHERE tbl <> '' WINDOW touches AS (PARTITION BY tbl, k0 ORDER BY seq)), edges AS (SELECT seq, tbl, was, tx, lead(seq) OVER touches AS later FROM noted WHERE earlier IS NOT tx WINDOW touches AS (PARTITION BY tbl, k0 ORDER BY seq)) SELECT tx, tbl, key, was, found IS NOT NULL AS now FROM (SELECT e.tx AS tx, e.tbl AS tbl, CASE e.tbl WHEN 'note' THEN o."c0" WHEN 'holdfast_conflict' THEN o."c0" END AS key, e.was AS was, CASE WHEN e.later IS NULL THEN CASE e.tbl WHEN 'note' THEN (SELECT 1 + (t."text" IS o.c1 AND t."n" IS o.c2) FROM "note" AS t WHERE t."id" = o.c0) WHEN 'holdfast_conflict' THEN (SELECT 1 + (t."scopes" IS o.c1 AND t."table_name" IS o.c2 AND t."row_key" IS o.c3 AND t."column_name" IS o.c4 AND t."kind" IS o.c5 AND t."base" IS o.c6 AND t."mine" IS o.c7 AND t."theirs" IS o.c8 AND t."user" IS o.c9 AND t."device" IS o.c10 AND t."at" IS o.c11 AND t."their_user" IS o.c12 AND t."their_device" IS o.c13 AND t."their_at" IS o.c14 AND t."state" IS o.c15 AND t."chosen" IS o.c16 AND t."settled_by" IS o.c17 AND t."settled_at" IS o.c18) FROM "holdfast_conflict" AS t WHERE t."id" = o.c0) END WHEN n.was THEN 1 + (o.c0 IS n.c0 AND o.c1 IS n.c1 AND o.c2 IS n.c2 AND o.c3 IS n.c3 AND o.c4 IS n.c4 AND o.c5 IS n.c5 AND o.c6 IS n.c6 AND o.c7 IS n.c7 AND o.c8 IS n.c8 AND o.c9 IS n.c9 AND o.c10 IS n.c10 AND o.c11 IS n.c11 AND o.c12 IS n.c12 AND o.c13 IS n.c13 AND o.c14 IS n.c14 AND o.c15 IS n.c15 AND o.c16 IS n.c16 AND o.c17 IS n.c17 AND o.c18 IS n.c18) END AS found FROM edges AS e CROSS JOIN holdfast_log AS o ON o.seq = e.seq LEFT JOIN holdfast_log AS n ON n.seq = e.later) WHERE CASE WHEN was THEN found IS NOT 2 ELSE found IS NOT NULL END;
CREATE VIEW holdfast_pending AS SELECT tx, tbl, key, kind, state FROM (SELECT c.tx, 'note' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, CASE WHEN x.aside > 0 AND x.state IN ('pending', 'sent') THEN 'held' ELSE x.state END AS state FROM "holdfast_change_note" AS c JOIN holdfast_tx AS x ON x.number = c.tx UNION ALL SELECT c.tx, 'holdfast_conflict' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, CASE WHEN x.aside > 0 AND x.state IN ('pending', 'sent') THEN 'held' ELSE x.state END AS state FROM "holdfast_change_holdfast_conflict" AS c JOIN holdfast_tx AS x ON x.number = c.tx UNION ALL SELECT tx, tbl, key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, 'pending' FROM holdfast_logged AS c) WHERE state IN ('pending', 'sent', 'held');
CREATE VIEW holdfast_row_status AS SELECT tbl, key, state FROM (SELECT tbl, key, state, max(CASE state WHEN 'conflict' THEN 5 WHEN 'refused' THEN 4 WHEN 'held' THEN 3 WHEN 'pending' THEN 2 WHEN 'sent' THEN 1 ELSE 0 END) FROM (SELECT tbl, key, state FROM (SELECT c.tx, 'note' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, CASE WHEN x.aside > 0 AND x.state IN ('pending', 'sent') THEN 'held' ELSE x.state END AS state FROM "holdfast_change_note" AS c JOIN holdfast_tx AS x ON x.number = c.tx UNION ALL SELECT c.tx, 'holdfast_conflict' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, CASE WHEN x.aside > 0 AND x.state IN ('pending', 'sent') THEN 'held' ELSE x.state END AS state FROM "holdfast_change_holdfast_conflict" AS c JOIN holdfast_tx AS x ON x.number = c.tx UNION ALL SELECT tx, tbl, key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, 'pending' FROM holdfast_logged AS c) UNION ALL SELECT table_name, row_key, 'conflict' FROM holdfast_conflict WHERE state = 'open' UNION ALL SELECT tbl, key, 'synced' FROM holdfast_row) GROUP BY tbl, key);
CREATE VIEW holdfast_inbox AS SELECT 'conflict' AS kind, id, table_name AS tbl, row_key AS key, column_name AS field, '' AS code, '' AS message, at FROM holdfast_conflict WHERE state = 'open' UNION ALL SELECT CASE WHEN x.aside > 0 AND x.state IN ('pending', 'sent') THEN 'held' ELSE x.state END, CAST(x.number AS TEXT), c.tbl, c.key, x.field, x.code, x.message, coalesce(x.decided_us, x.at) FROM holdfast_tx AS x LEFT JOIN (SELECT c.tx, 'note' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, CASE WHEN x.aside > 0 AND x.state IN ('pending', 'sent') THEN 'held' ELSE x.state END AS state FROM "holdfast_change_note" AS c JOIN holdfast_tx AS x ON x.number = c.tx UNION ALL SELECT c.tx, 'holdfast_conflict' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, CASE WHEN x.aside > 0 AND x.state IN ('pending', 'sent') THEN 'held' ELSE x.state END AS state FROM "holdfast_change_holdfast_conflict" AS c JOIN holdfast_tx AS x ON x.number = c.tx) AS c ON c.tx = x.number WHERE x.state IN ('refused', 'held') OR x.aside > 0;
COMMIT;
