BEGIN TRANSACTION;
CREATE TABLE "holdfast_change_holdfast_conflict" (tx INTEGER NOT NULL, key TEXT NOT NULL, was INTEGER NOT NULL, now INTEGER, base INTEGER NOT NULL DEFAULT 0, bases TEXT, held INTEGER NOT NULL DEFAULT 0, "o_scopes" ANY, "o_table_name" ANY, "o_row_key" ANY, "o_column_name" ANY, "o_kind" ANY, "o_base" ANY, "o_mine" ANY, "o_theirs" ANY, "o_user" ANY, "o_device" ANY, "o_at" ANY, "o_their_user" ANY, "o_their_device" ANY, "o_their_at" ANY, "o_state" ANY, "o_chosen" ANY, "o_settled_by" ANY, "o_settled_at" ANY, "n_scopes" ANY, "n_table_name" ANY, "n_row_key" ANY, "n_column_name" ANY, "n_kind" ANY, "n_base" ANY, "n_mine" ANY, "n_theirs" ANY, "n_user" ANY, "n_device" ANY, "n_at" ANY, "n_their_user" ANY, "n_their_device" ANY, "n_their_at" ANY, "n_state" ANY, "n_chosen" ANY, "n_settled_by" ANY, "n_settled_at" ANY, UNIQUE (key, tx)) STRICT;
CREATE TABLE "holdfast_change_item" (tx INTEGER NOT NULL, key TEXT NOT NULL, was INTEGER NOT NULL, now INTEGER, base INTEGER NOT NULL DEFAULT 0, bases TEXT, held INTEGER NOT NULL DEFAULT 0, "o_sku" ANY, "o_name" ANY, "o_qty" ANY, "n_sku" ANY, "n_name" ANY, "n_qty" ANY, UNIQUE (key, tx)) STRICT;
INSERT INTO "holdfast_change_item" VALUES(1,'a',1,1,41,NULL,0,'k1','Mug',10,'k1','Mug',7);
INSERT INTO "holdfast_change_item" VALUES(1,'n',0,1,0,NULL,0,NULL,NULL,NULL,'k9','New',2);
INSERT INTO "holdfast_change_item" VALUES(2,'a',1,1,41,'{"qty":41}',0,'k1','Mug',7,'k1','Beaker',7);
INSERT INTO "holdfast_change_item" VALUES(4,'a',1,1,41,NULL,0,'k1','Beaker',7,'k1','Beaker',8);
INSERT INTO "holdfast_change_item" VALUES(4,'b',1,NULL,42,NULL,0,'k2','Jug',5,NULL,NULL,NULL);
INSERT INTO "holdfast_change_item" VALUES(4,'z',0,1,0,NULL,0,NULL,NULL,NULL,'k2','Instead',0);
INSERT INTO "holdfast_change_item" VALUES(4,'c',1,NULL,43,NULL,0,'k3','Cup',1,NULL,NULL,NULL);
CREATE TABLE "holdfast_change_num" (tx INTEGER NOT NULL, key TEXT NOT NULL, was INTEGER NOT NULL, now INTEGER, base INTEGER NOT NULL DEFAULT 0, bases TEXT, held INTEGER NOT NULL DEFAULT 0, "o_v" ANY, "n_v" ANY, UNIQUE (key, tx)) STRICT;
INSERT INTO "holdfast_change_num" VALUES(4,'9',0,1,0,NULL,0,NULL,'nine');
INSERT INTO "holdfast_change_num" VALUES(4,'-1',1,1,0,NULL,0,'minus','least');
INSERT INTO "holdfast_change_num" VALUES(4,'10',0,0,0,NULL,0,NULL,NULL);
CREATE TABLE "holdfast_change_pair" (tx INTEGER NOT NULL, key TEXT NOT NULL, was INTEGER NOT NULL, now INTEGER, base INTEGER NOT NULL DEFAULT 0, bases TEXT, held INTEGER NOT NULL DEFAULT 0, "o_note" ANY, "n_note" ANY, UNIQUE (key, tx)) STRICT;
INSERT INTO "holdfast_change_pair" VALUES(4,'x%2Fy/1',1,0,0,NULL,0,'one',NULL);
INSERT INTO "holdfast_change_pair" VALUES(4,'%25/2',1,1,0,NULL,0,'two',NULL);
CREATE TABLE "holdfast_change_raw" (tx INTEGER NOT NULL, key TEXT NOT NULL, was INTEGER NOT NULL, now INTEGER, base INTEGER NOT NULL DEFAULT 0, bases TEXT, held INTEGER NOT NULL DEFAULT 0, "o_v" ANY, "n_v" ANY, UNIQUE (key, tx)) STRICT;
INSERT INTO "holdfast_change_raw" VALUES(4,'00ff/p%2F1',1,1,0,NULL,0,'r','s');
CREATE TABLE "holdfast_change_tag" (tx INTEGER NOT NULL, key TEXT NOT NULL, was INTEGER NOT NULL, now INTEGER, base INTEGER NOT NULL DEFAULT 0, bases TEXT, held INTEGER NOT NULL DEFAULT 0, UNIQUE (key, tx)) STRICT;
INSERT INTO "holdfast_change_tag" VALUES(3,'a/red',1,0,0,NULL,0);
INSERT INTO "holdfast_change_tag" VALUES(4,'b%2Fc/100%25',0,1,0,NULL,0);
CREATE TABLE "holdfast_conflict" (
  "id" TEXT NOT NULL CHECK ("id" GLOB '[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]'),
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
CREATE TABLE holdfast_member (
  scope TEXT NOT NULL, tbl TEXT NOT NULL, key TEXT NOT NULL, hash BLOB NOT NULL,
  PRIMARY KEY (scope, tbl, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE holdfast_row (
  tbl TEXT NOT NULL, key TEXT NOT NULL, rev INTEGER NOT NULL,
  PRIMARY KEY (tbl, key)
) STRICT, WITHOUT ROWID;
INSERT INTO "holdfast_row" VALUES('item','a',41);
INSERT INTO "holdfast_row" VALUES('item','b',42);
INSERT INTO "holdfast_row" VALUES('item','c',43);
CREATE TABLE holdfast_scope (
  scope TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  seal TEXT NOT NULL,
  server_count INTEGER NOT NULL,
  server_digest TEXT NOT NULL,
  count INTEGER NOT NULL,
  digest TEXT NOT NULL,
  hash_key BLOB NOT NULL,
  writable INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE "holdfast_shadow_holdfast_conflict" (key TEXT PRIMARY KEY, present INTEGER NOT NULL, "v_scopes" ANY, "v_table_name" ANY, "v_row_key" ANY, "v_column_name" ANY, "v_kind" ANY, "v_base" ANY, "v_mine" ANY, "v_theirs" ANY, "v_user" ANY, "v_device" ANY, "v_at" ANY, "v_their_user" ANY, "v_their_device" ANY, "v_their_at" ANY, "v_state" ANY, "v_chosen" ANY, "v_settled_by" ANY, "v_settled_at" ANY) STRICT, WITHOUT ROWID;
CREATE TABLE "holdfast_shadow_item" (key TEXT PRIMARY KEY, present INTEGER NOT NULL, "v_sku" ANY, "v_name" ANY, "v_qty" ANY) STRICT, WITHOUT ROWID;
CREATE TABLE "holdfast_shadow_num" (key TEXT PRIMARY KEY, present INTEGER NOT NULL, "v_v" ANY) STRICT, WITHOUT ROWID;
CREATE TABLE "holdfast_shadow_pair" (key TEXT PRIMARY KEY, present INTEGER NOT NULL, "v_note" ANY) STRICT, WITHOUT ROWID;
CREATE TABLE "holdfast_shadow_raw" (key TEXT PRIMARY KEY, present INTEGER NOT NULL, "v_v" ANY) STRICT, WITHOUT ROWID;
CREATE TABLE "holdfast_shadow_tag" (key TEXT PRIMARY KEY, present INTEGER NOT NULL) STRICT, WITHOUT ROWID;
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
  session TEXT NOT NULL DEFAULT '{}',
  capture TEXT NOT NULL DEFAULT '',
  schema TEXT NOT NULL
) STRICT;
INSERT INTO "holdfast_state" VALUES(1,0,4,1700000000006000,1,'5eefb29d7a658c04111eda44777e671a','d1','','','n1','',0,NULL,NULL,NULL,0,'','',0,'{}','2cff027c233a9e168d7cd651cfc11074','{
  "name": "before",
  "tables": [
    {
      "name": "item",
      "key": [
        "id"
      ],
      "columns": [
        {
          "name": "id"
        },
        {
          "name": "sku",
          "nullable": true
        },
        {
          "name": "name",
          "default": "new"
        },
        {
          "name": "qty",
          "type": "integer",
          "merge": "counter"
        }
      ],
      "scopes": [
        "all"
      ],
      "unique": [
        [
          "sku"
        ]
      ],
      "existence_public": true
    },
    {
      "name": "pair",
      "key": [
        "a",
        "b"
      ],
      "columns": [
        {
          "name": "a"
        },
        {
          "name": "b",
          "type": "integer"
        },
        {
          "name": "note",
          "nullable": true
        }
      ],
      "scopes": [
        "all"
      ]
    },
    {
      "name": "num",
      "key": [
        "id"
      ],
      "columns": [
        {
          "name": "id",
          "type": "integer"
        },
        {
          "name": "v",
          "nullable": true
        }
      ],
      "scopes": [
        "all"
      ]
    },
    {
      "name": "raw",
      "key": [
        "id",
        "part"
      ],
      "columns": [
        {
          "name": "id",
          "type": "bytes"
        },
        {
          "name": "part"
        },
        {
          "name": "v",
          "nullable": true
        }
      ],
      "scopes": [
        "all"
      ]
    },
    {
      "name": "tag",
      "key": [
        "item",
        "word"
      ],
      "columns": [
        {
          "name": "item"
        },
        {
          "name": "word"
        }
      ],
      "scopes": [
        "all"
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
  decided_us INTEGER
) STRICT;
INSERT INTO "holdfast_tx" VALUES(1,'00000000000000000000000000000001','pending',1700000000002000,'[]',0,'','','','',0,NULL);
INSERT INTO "holdfast_tx" VALUES(2,'00000000000000000000000000000002','pending',1700000000004000,'[1]',0,'','','','',0,NULL);
INSERT INTO "holdfast_tx" VALUES(3,'00000000000000000000000000000003','pending',1700000000006000,'[]',0,'','','','',0,NULL);
CREATE TABLE "item" (
  "id" TEXT NOT NULL CHECK (instr("id", char(0)) = 0 AND length(CAST("id" AS BLOB)) BETWEEN 1 AND 1024),
  "sku" TEXT CHECK (instr("sku", char(0)) = 0 AND length(CAST("sku" AS BLOB)) <= 4194304),
  "name" TEXT NOT NULL DEFAULT 'new' CHECK (instr("name", char(0)) = 0 AND length(CAST("name" AS BLOB)) <= 4194304),
  "qty" INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY ("id"),
  UNIQUE ("sku"),
  CHECK (length(CAST("id" AS BLOB)) <= 1024)
) STRICT;
INSERT INTO "item" VALUES('a','k1','Beaker',8);
INSERT INTO "item" VALUES('c','k3','Cup',1);
INSERT INTO "item" VALUES('n','k9','New',2);
INSERT INTO "item" VALUES('z','k2','Instead',0);
CREATE TABLE "num" (
  "id" INTEGER NOT NULL,
  "v" TEXT CHECK (instr("v", char(0)) = 0 AND length(CAST("v" AS BLOB)) <= 4194304),
  PRIMARY KEY ("id")
) STRICT;
INSERT INTO "num" VALUES(-1,'least');
INSERT INTO "num" VALUES(7,'seven');
INSERT INTO "num" VALUES(9,'nine');
CREATE TABLE "pair" (
  "a" TEXT NOT NULL CHECK (instr("a", char(0)) = 0 AND length(CAST("a" AS BLOB)) BETWEEN 1 AND 1024),
  "b" INTEGER NOT NULL,
  "note" TEXT CHECK (instr("note", char(0)) = 0 AND length(CAST("note" AS BLOB)) <= 4194304),
  PRIMARY KEY ("a", "b"),
  CHECK (length(CAST(replace(replace("a", '%', '%25'), '/', '%2F') || '/' || replace(replace(CAST("b" AS TEXT), '%', '%25'), '/', '%2F') AS BLOB)) <= 1024)
) STRICT;
INSERT INTO "pair" VALUES('%',2,NULL);
CREATE TABLE "raw" (
  "id" BLOB NOT NULL CHECK (length(CAST("id" AS BLOB)) BETWEEN 1 AND 1024),
  "part" TEXT NOT NULL CHECK (instr("part", char(0)) = 0 AND length(CAST("part" AS BLOB)) BETWEEN 1 AND 1024),
  "v" TEXT CHECK (instr("v", char(0)) = 0 AND length(CAST("v" AS BLOB)) <= 4194304),
  PRIMARY KEY ("id", "part"),
  CHECK (length(CAST(replace(replace(lower(hex("id")), '%', '%25'), '/', '%2F') || '/' || replace(replace("part", '%', '%25'), '/', '%2F') AS BLOB)) <= 1024)
) STRICT;
INSERT INTO "raw" VALUES(X'00FF','p/1','s');
CREATE TABLE "tag" (
  "item" TEXT NOT NULL CHECK (instr("item", char(0)) = 0 AND length(CAST("item" AS BLOB)) BETWEEN 1 AND 1024),
  "word" TEXT NOT NULL CHECK (instr("word", char(0)) = 0 AND length(CAST("word" AS BLOB)) BETWEEN 1 AND 1024),
  PRIMARY KEY ("item", "word"),
  CHECK (length(CAST(replace(replace("item", '%', '%25'), '/', '%2F') || '/' || replace(replace("word", '%', '%25'), '/', '%2F') AS BLOB)) <= 1024)
) STRICT;
INSERT INTO "tag" VALUES('b/c','100%');
CREATE INDEX holdfast_member_row ON holdfast_member (tbl, key);
CREATE INDEX "holdfast_by_tx_item" ON "holdfast_change_item" (tx);
CREATE INDEX "holdfast_by_tx_pair" ON "holdfast_change_pair" (tx);
CREATE INDEX "holdfast_by_tx_num" ON "holdfast_change_num" (tx);
CREATE INDEX "holdfast_by_tx_raw" ON "holdfast_change_raw" (tx);
CREATE INDEX "holdfast_by_tx_tag" ON "holdfast_change_tag" (tx);
CREATE INDEX "holdfast_by_tx_holdfast_conflict" ON "holdfast_change_holdfast_conflict" (tx);
CREATE TRIGGER "holdfast_item_before_insert_0" BEFORE INSERT ON "item" WHEN (SELECT applying FROM holdfast_state) = 0 AND EXISTS (SELECT 1 FROM "item" WHERE "id" = NEW."id") BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_item" ("tx", "key", "was", "now", "base", "o_sku", "o_name", "o_qty") SELECT (SELECT open_tx FROM holdfast_state), t."id", 1, NULL, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'item' AND key = t."id"), 0), t."sku", t."name", t."qty" FROM "item" AS t WHERE t."id" = NEW."id" ON CONFLICT (key, tx) DO UPDATE SET now = NULL; END;
CREATE TRIGGER "holdfast_item_before_insert_1" BEFORE INSERT ON "item" WHEN (SELECT applying FROM holdfast_state) = 0 AND EXISTS (SELECT 1 FROM "item" WHERE "sku" = NEW."sku") BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_item" ("tx", "key", "was", "now", "base", "o_sku", "o_name", "o_qty") SELECT (SELECT open_tx FROM holdfast_state), t."id", 1, NULL, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'item' AND key = t."id"), 0), t."sku", t."name", t."qty" FROM "item" AS t WHERE t."sku" = NEW."sku" ON CONFLICT (key, tx) DO UPDATE SET now = NULL; END;
CREATE TRIGGER "holdfast_item_before_update_1" BEFORE UPDATE OF "sku" ON "item" WHEN (SELECT applying FROM holdfast_state) = 0 AND EXISTS (SELECT 1 FROM "item" WHERE "sku" = NEW."sku") BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_item" ("tx", "key", "was", "now", "base", "o_sku", "o_name", "o_qty") SELECT (SELECT open_tx FROM holdfast_state), t."id", 1, NULL, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'item' AND key = t."id"), 0), t."sku", t."name", t."qty" FROM "item" AS t WHERE t."sku" = NEW."sku" AND NOT (t."id" = NEW."id") ON CONFLICT (key, tx) DO UPDATE SET now = NULL; END;
CREATE TRIGGER "holdfast_item_key" BEFORE UPDATE OF "id" ON "item" WHEN OLD."id" IS NOT NEW."id" BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ SELECT RAISE(ABORT, 'holdfast: the key of item never changes'); END;
CREATE TRIGGER "holdfast_item_after_insert" AFTER INSERT ON "item" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_item" (tx, key, was, now, "n_sku", "n_name", "n_qty") VALUES ((SELECT open_tx FROM holdfast_state), NEW."id", 0, 1, NEW."sku", NEW."name", NEW."qty") ON CONFLICT (key, tx) DO UPDATE SET now = 1, "n_sku" = excluded."n_sku", "n_name" = excluded."n_name", "n_qty" = excluded."n_qty"; END;
CREATE TRIGGER "holdfast_item_after_update" AFTER UPDATE OF "sku", "name", "qty" ON "item" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_item" (tx, key, was, now, base, "o_sku", "o_name", "o_qty", "n_sku", "n_name", "n_qty") VALUES ((SELECT open_tx FROM holdfast_state), NEW."id", 1, 1, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'item' AND key = NEW."id"), 0), OLD."sku", OLD."name", OLD."qty", NEW."sku", NEW."name", NEW."qty") ON CONFLICT (key, tx) DO UPDATE SET now = 1, "n_sku" = excluded."n_sku", "n_name" = excluded."n_name", "n_qty" = excluded."n_qty"; END;
CREATE TRIGGER "holdfast_item_after_delete" AFTER DELETE ON "item" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_item" (tx, key, was, now, base, "o_sku", "o_name", "o_qty") VALUES ((SELECT open_tx FROM holdfast_state), OLD."id", 1, 0, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'item' AND key = OLD."id"), 0), OLD."sku", OLD."name", OLD."qty") ON CONFLICT (key, tx) DO UPDATE SET now = 0, "n_sku" = NULL, "n_name" = NULL, "n_qty" = NULL; END;
CREATE TRIGGER "holdfast_pair_before_insert_0" BEFORE INSERT ON "pair" WHEN (SELECT applying FROM holdfast_state) = 0 AND EXISTS (SELECT 1 FROM "pair" WHERE "a" = NEW."a" AND "b" = NEW."b") BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_pair" ("tx", "key", "was", "now", "base", "o_note") SELECT (SELECT open_tx FROM holdfast_state), replace(replace(t."a", '%', '%25'), '/', '%2F') || '/' || replace(replace(CAST(t."b" AS TEXT), '%', '%25'), '/', '%2F'), 1, NULL, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'pair' AND key = replace(replace(t."a", '%', '%25'), '/', '%2F') || '/' || replace(replace(CAST(t."b" AS TEXT), '%', '%25'), '/', '%2F')), 0), t."note" FROM "pair" AS t WHERE t."a" = NEW."a" AND t."b" = NEW."b" ON CONFLICT (key, tx) DO UPDATE SET now = NULL; END;
CREATE TRIGGER "holdfast_pair_key" BEFORE UPDATE OF "a", "b" ON "pair" WHEN OLD."a" IS NOT NEW."a" OR OLD."b" IS NOT NEW."b" BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ SELECT RAISE(ABORT, 'holdfast: the key of pair never changes'); END;
CREATE TRIGGER "holdfast_pair_after_insert" AFTER INSERT ON "pair" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_pair" (tx, key, was, now, "n_note") VALUES ((SELECT open_tx FROM holdfast_state), replace(replace(NEW."a", '%', '%25'), '/', '%2F') || '/' || replace(replace(CAST(NEW."b" AS TEXT), '%', '%25'), '/', '%2F'), 0, 1, NEW."note") ON CONFLICT (key, tx) DO UPDATE SET now = 1, "n_note" = excluded."n_note"; END;
CREATE TRIGGER "holdfast_pair_after_update" AFTER UPDATE OF "note" ON "pair" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_pair" (tx, key, was, now, base, "o_note", "n_note") VALUES ((SELECT open_tx FROM holdfast_state), replace(replace(NEW."a", '%', '%25'), '/', '%2F') || '/' || replace(replace(CAST(NEW."b" AS TEXT), '%', '%25'), '/', '%2F'), 1, 1, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'pair' AND key = replace(replace(NEW."a", '%', '%25'), '/', '%2F') || '/' || replace(replace(CAST(NEW."b" AS TEXT), '%', '%25'), '/', '%2F')), 0), OLD."note", NEW."note") ON CONFLICT (key, tx) DO UPDATE SET now = 1, "n_note" = excluded."n_note"; END;
CREATE TRIGGER "holdfast_pair_after_delete" AFTER DELETE ON "pair" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_pair" (tx, key, was, now, base, "o_note") VALUES ((SELECT open_tx FROM holdfast_state), replace(replace(OLD."a", '%', '%25'), '/', '%2F') || '/' || replace(replace(CAST(OLD."b" AS TEXT), '%', '%25'), '/', '%2F'), 1, 0, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'pair' AND key = replace(replace(OLD."a", '%', '%25'), '/', '%2F') || '/' || replace(replace(CAST(OLD."b" AS TEXT), '%', '%25'), '/', '%2F')), 0), OLD."note") ON CONFLICT (key, tx) DO UPDATE SET now = 0, "n_note" = NULL; END;
CREATE TRIGGER "holdfast_num_before_insert_0" BEFORE INSERT ON "num" WHEN (SELECT applying FROM holdfast_state) = 0 AND EXISTS (SELECT 1 FROM "num" WHERE "id" = NEW."id") BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_num" ("tx", "key", "was", "now", "base", "o_v") SELECT (SELECT open_tx FROM holdfast_state), CAST(t."id" AS TEXT), 1, NULL, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'num' AND key = CAST(t."id" AS TEXT)), 0), t."v" FROM "num" AS t WHERE t."id" = NEW."id" ON CONFLICT (key, tx) DO UPDATE SET now = NULL; END;
CREATE TRIGGER "holdfast_num_key" BEFORE UPDATE ON "num" WHEN OLD."id" IS NOT NEW."id" BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ SELECT RAISE(ABORT, 'holdfast: the key of num never changes'); END;
CREATE TRIGGER "holdfast_num_after_insert" AFTER INSERT ON "num" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_num" (tx, key, was, now, "n_v") VALUES ((SELECT open_tx FROM holdfast_state), CAST(NEW."id" AS TEXT), 0, 1, NEW."v") ON CONFLICT (key, tx) DO UPDATE SET now = 1, "n_v" = excluded."n_v"; END;
CREATE TRIGGER "holdfast_num_after_update" AFTER UPDATE OF "v" ON "num" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_num" (tx, key, was, now, base, "o_v", "n_v") VALUES ((SELECT open_tx FROM holdfast_state), CAST(NEW."id" AS TEXT), 1, 1, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'num' AND key = CAST(NEW."id" AS TEXT)), 0), OLD."v", NEW."v") ON CONFLICT (key, tx) DO UPDATE SET now = 1, "n_v" = excluded."n_v"; END;
CREATE TRIGGER "holdfast_num_after_delete" AFTER DELETE ON "num" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_num" (tx, key, was, now, base, "o_v") VALUES ((SELECT open_tx FROM holdfast_state), CAST(OLD."id" AS TEXT), 1, 0, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'num' AND key = CAST(OLD."id" AS TEXT)), 0), OLD."v") ON CONFLICT (key, tx) DO UPDATE SET now = 0, "n_v" = NULL; END;
CREATE TRIGGER "holdfast_raw_before_insert_0" BEFORE INSERT ON "raw" WHEN (SELECT applying FROM holdfast_state) = 0 AND EXISTS (SELECT 1 FROM "raw" WHERE "id" = NEW."id" AND "part" = NEW."part") BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_raw" ("tx", "key", "was", "now", "base", "o_v") SELECT (SELECT open_tx FROM holdfast_state), replace(replace(lower(hex(t."id")), '%', '%25'), '/', '%2F') || '/' || replace(replace(t."part", '%', '%25'), '/', '%2F'), 1, NULL, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'raw' AND key = replace(replace(lower(hex(t."id")), '%', '%25'), '/', '%2F') || '/' || replace(replace(t."part", '%', '%25'), '/', '%2F')), 0), t."v" FROM "raw" AS t WHERE t."id" = NEW."id" AND t."part" = NEW."part" ON CONFLICT (key, tx) DO UPDATE SET now = NULL; END;
CREATE TRIGGER "holdfast_raw_key" BEFORE UPDATE OF "id", "part" ON "raw" WHEN OLD."id" IS NOT NEW."id" OR OLD."part" IS NOT NEW."part" BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ SELECT RAISE(ABORT, 'holdfast: the key of raw never changes'); END;
CREATE TRIGGER "holdfast_raw_after_insert" AFTER INSERT ON "raw" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_raw" (tx, key, was, now, "n_v") VALUES ((SELECT open_tx FROM holdfast_state), replace(replace(lower(hex(NEW."id")), '%', '%25'), '/', '%2F') || '/' || replace(replace(NEW."part", '%', '%25'), '/', '%2F'), 0, 1, NEW."v") ON CONFLICT (key, tx) DO UPDATE SET now = 1, "n_v" = excluded."n_v"; END;
CREATE TRIGGER "holdfast_raw_after_update" AFTER UPDATE OF "v" ON "raw" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_raw" (tx, key, was, now, base, "o_v", "n_v") VALUES ((SELECT open_tx FROM holdfast_state), replace(replace(lower(hex(NEW."id")), '%', '%25'), '/', '%2F') || '/' || replace(replace(NEW."part", '%', '%25'), '/', '%2F'), 1, 1, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'raw' AND key = replace(replace(lower(hex(NEW."id")), '%', '%25'), '/', '%2F') || '/' || replace(replace(NEW."part", '%', '%25'), '/', '%2F')), 0), OLD."v", NEW."v") ON CONFLICT (key, tx) DO UPDATE SET now = 1, "n_v" = excluded."n_v"; END;
CREATE TRIGGER "holdfast_raw_after_delete" AFTER DELETE ON "raw" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_raw" (tx, key, was, now, base, "o_v") VALUES ((SELECT open_tx FROM holdfast_state), replace(replace(lower(hex(OLD."id")), '%', '%25'), '/', '%2F') || '/' || replace(replace(OLD."part", '%', '%25'), '/', '%2F'), 1, 0, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'raw' AND key = replace(replace(lower(hex(OLD."id")), '%', '%25'), '/', '%2F') || '/' || replace(replace(OLD."part", '%', '%25'), '/', '%2F')), 0), OLD."v") ON CONFLICT (key, tx) DO UPDATE SET now = 0, "n_v" = NULL; END;
CREATE TRIGGER "holdfast_tag_before_insert_0" BEFORE INSERT ON "tag" WHEN (SELECT applying FROM holdfast_state) = 0 AND EXISTS (SELECT 1 FROM "tag" WHERE "item" = NEW."item" AND "word" = NEW."word") BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_tag" ("tx", "key", "was", "now", "base") SELECT (SELECT open_tx FROM holdfast_state), replace(replace(t."item", '%', '%25'), '/', '%2F') || '/' || replace(replace(t."word", '%', '%25'), '/', '%2F'), 1, NULL, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'tag' AND key = replace(replace(t."item", '%', '%25'), '/', '%2F') || '/' || replace(replace(t."word", '%', '%25'), '/', '%2F')), 0) FROM "tag" AS t WHERE t."item" = NEW."item" AND t."word" = NEW."word" ON CONFLICT (key, tx) DO UPDATE SET now = NULL; END;
CREATE TRIGGER "holdfast_tag_key" BEFORE UPDATE OF "item", "word" ON "tag" WHEN OLD."item" IS NOT NEW."item" OR OLD."word" IS NOT NEW."word" BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ SELECT RAISE(ABORT, 'holdfast: the key of tag never changes'); END;
CREATE TRIGGER "holdfast_tag_after_insert" AFTER INSERT ON "tag" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_tag" (tx, key, was, now) VALUES ((SELECT open_tx FROM holdfast_state), replace(replace(NEW."item", '%', '%25'), '/', '%2F') || '/' || replace(replace(NEW."word", '%', '%25'), '/', '%2F'), 0, 1) ON CONFLICT (key, tx) DO UPDATE SET now = 1; END;
CREATE TRIGGER "holdfast_tag_after_delete" AFTER DELETE ON "tag" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_tag" (tx, key, was, now, base) VALUES ((SELECT open_tx FROM holdfast_state), replace(replace(OLD."item", '%', '%25'), '/', '%2F') || '/' || replace(replace(OLD."word", '%', '%25'), '/', '%2F'), 1, 0, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'tag' AND key = replace(replace(OLD."item", '%', '%25'), '/', '%2F') || '/' || replace(replace(OLD."word", '%', '%25'), '/', '%2F')), 0)) ON CONFLICT (key, tx) DO UPDATE SET now = 0; END;
CREATE TRIGGER "holdfast_holdfast_conflict_before_insert_0" BEFORE INSERT ON "holdfast_conflict" WHEN (SELECT applying FROM holdfast_state) = 0 AND EXISTS (SELECT 1 FROM "holdfast_conflict" WHERE "id" = NEW."id") BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_holdfast_conflict" ("tx", "key", "was", "now", "base", "o_scopes", "o_table_name", "o_row_key", "o_column_name", "o_kind", "o_base", "o_mine", "o_theirs", "o_user", "o_device", "o_at", "o_their_user", "o_their_device", "o_their_at", "o_state", "o_chosen", "o_settled_by", "o_settled_at") SELECT (SELECT open_tx FROM holdfast_state), t."id", 1, NULL, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'holdfast_conflict' AND key = t."id"), 0), t."scopes", t."table_name", t."row_key", t."column_name", t."kind", t."base", t."mine", t."theirs", t."user", t."device", t."at", t."their_user", t."their_device", t."their_at", t."state", t."chosen", t."settled_by", t."settled_at" FROM "holdfast_conflict" AS t WHERE t."id" = NEW."id" ON CONFLICT (key, tx) DO UPDATE SET now = NULL; END;
CREATE TRIGGER "holdfast_holdfast_conflict_key" BEFORE UPDATE OF "id" ON "holdfast_conflict" WHEN OLD."id" IS NOT NEW."id" BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ SELECT RAISE(ABORT, 'holdfast: the key of holdfast_conflict never changes'); END;
CREATE TRIGGER "holdfast_holdfast_conflict_after_insert" AFTER INSERT ON "holdfast_conflict" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_holdfast_conflict" (tx, key, was, now, "n_scopes", "n_table_name", "n_row_key", "n_column_name", "n_kind", "n_base", "n_mine", "n_theirs", "n_user", "n_device", "n_at", "n_their_user", "n_their_device", "n_their_at", "n_state", "n_chosen", "n_settled_by", "n_settled_at") VALUES ((SELECT open_tx FROM holdfast_state), NEW."id", 0, 1, NEW."scopes", NEW."table_name", NEW."row_key", NEW."column_name", NEW."kind", NEW."base", NEW."mine", NEW."theirs", NEW."user", NEW."device", NEW."at", NEW."their_user", NEW."their_device", NEW."their_at", NEW."state", NEW."chosen", NEW."settled_by", NEW."settled_at") ON CONFLICT (key, tx) DO UPDATE SET now = 1, "n_scopes" = excluded."n_scopes", "n_table_name" = excluded."n_table_name", "n_row_key" = excluded."n_row_key", "n_column_name" = excluded."n_column_name", "n_kind" = excluded."n_kind", "n_base" = excluded."n_base", "n_mine" = excluded."n_mine", "n_theirs" = excluded."n_theirs", "n_user" = excluded."n_user", "n_device" = excluded."n_device", "n_at" = excluded."n_at", "n_their_user" = excluded."n_their_user", "n_their_device" = excluded."n_their_device", "n_their_at" = excluded."n_their_at", "n_state" = excluded."n_state", "n_chosen" = excluded."n_chosen", "n_settled_by" = excluded."n_settled_by", "n_settled_at" = excluded."n_settled_at"; END;
CREATE TRIGGER "holdfast_holdfast_conflict_after_update" AFTER UPDATE OF "scopes", "table_name", "row_key", "column_name", "kind", "base", "mine", "theirs", "user", "device", "at", "their_user", "their_device", "their_at", "state", "chosen", "settled_by", "settled_at" ON "holdfast_conflict" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_holdfast_conflict" (tx, key, was, now, base, "o_scopes", "o_table_name", "o_row_key", "o_column_name", "o_kind", "o_base", "o_mine", "o_theirs", "o_user", "o_device", "o_at", "o_their_user", "o_their_device", "o_their_at", "o_state", "o_chosen", "o_settled_by", "o_settled_at", "n_scopes", "n_table_name", "n_row_key", "n_column_name", "n_kind", "n_base", "n_mine", "n_theirs", "n_user", "n_device", "n_at", "n_their_user", "n_their_device", "n_their_at", "n_state", "n_chosen", "n_settled_by", "n_settled_at") VALUES ((SELECT open_tx FROM holdfast_state), NEW."id", 1, 1, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'holdfast_conflict' AND key = NEW."id"), 0), OLD."scopes", OLD."table_name", OLD."row_key", OLD."column_name", OLD."kind", OLD."base", OLD."mine", OLD."theirs", OLD."user", OLD."device", OLD."at", OLD."their_user", OLD."their_device", OLD."their_at", OLD."state", OLD."chosen", OLD."settled_by", OLD."settled_at", NEW."scopes", NEW."table_name", NEW."row_key", NEW."column_name", NEW."kind", NEW."base", NEW."mine", NEW."theirs", NEW."user", NEW."device", NEW."at", NEW."their_user", NEW."their_device", NEW."their_at", NEW."state", NEW."chosen", NEW."settled_by", NEW."settled_at") ON CONFLICT (key, tx) DO UPDATE SET now = 1, "n_scopes" = excluded."n_scopes", "n_table_name" = excluded."n_table_name", "n_row_key" = excluded."n_row_key", "n_column_name" = excluded."n_column_name", "n_kind" = excluded."n_kind", "n_base" = excluded."n_base", "n_mine" = excluded."n_mine", "n_theirs" = excluded."n_theirs", "n_user" = excluded."n_user", "n_device" = excluded."n_device", "n_at" = excluded."n_at", "n_their_user" = excluded."n_their_user", "n_their_device" = excluded."n_their_device", "n_their_at" = excluded."n_their_at", "n_state" = excluded."n_state", "n_chosen" = excluded."n_chosen", "n_settled_by" = excluded."n_settled_by", "n_settled_at" = excluded."n_settled_at"; END;
CREATE TRIGGER "holdfast_holdfast_conflict_after_delete" AFTER DELETE ON "holdfast_conflict" WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN /* holdfast 5eefb29d7a658c04111eda44777e671a */ INSERT INTO "holdfast_change_holdfast_conflict" (tx, key, was, now, base, "o_scopes", "o_table_name", "o_row_key", "o_column_name", "o_kind", "o_base", "o_mine", "o_theirs", "o_user", "o_device", "o_at", "o_their_user", "o_their_device", "o_their_at", "o_state", "o_chosen", "o_settled_by", "o_settled_at") VALUES ((SELECT open_tx FROM holdfast_state), OLD."id", 1, 0, coalesce((SELECT rev FROM holdfast_row WHERE tbl = 'holdfast_conflict' AND key = OLD."id"), 0), OLD."scopes", OLD."table_name", OLD."row_key", OLD."column_name", OLD."kind", OLD."base", OLD."mine", OLD."theirs", OLD."user", OLD."device", OLD."at", OLD."their_user", OLD."their_device", OLD."their_at", OLD."state", OLD."chosen", OLD."settled_by", OLD."settled_at") ON CONFLICT (key, tx) DO UPDATE SET now = 0, "n_scopes" = NULL, "n_table_name" = NULL, "n_row_key" = NULL, "n_column_name" = NULL, "n_kind" = NULL, "n_base" = NULL, "n_mine" = NULL, "n_theirs" = NULL, "n_user" = NULL, "n_device" = NULL, "n_at" = NULL, "n_their_user" = NULL, "n_their_device" = NULL, "n_their_at" = NULL, "n_state" = NULL, "n_chosen" = NULL, "n_settled_by" = NULL, "n_settled_at" = NULL; END;
CREATE VIEW holdfast_pending AS SELECT tx, tbl, key, kind, state FROM (SELECT c.tx, 'item' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_item" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0 UNION ALL SELECT c.tx, 'pair' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_pair" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0 UNION ALL SELECT c.tx, 'num' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_num" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0 UNION ALL SELECT c.tx, 'raw' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_raw" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0 UNION ALL SELECT c.tx, 'tag' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_tag" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0 UNION ALL SELECT c.tx, 'holdfast_conflict' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_holdfast_conflict" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0) WHERE state IN ('pending', 'sent', 'held');
CREATE VIEW holdfast_row_status AS SELECT tbl, key, state FROM (SELECT tbl, key, state, max(CASE state WHEN 'conflict' THEN 5 WHEN 'refused' THEN 4 WHEN 'held' THEN 3 WHEN 'pending' THEN 2 WHEN 'sent' THEN 1 ELSE 0 END) FROM (SELECT tbl, key, state FROM (SELECT c.tx, 'item' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_item" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0 UNION ALL SELECT c.tx, 'pair' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_pair" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0 UNION ALL SELECT c.tx, 'num' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_num" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0 UNION ALL SELECT c.tx, 'raw' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_raw" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0 UNION ALL SELECT c.tx, 'tag' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_tag" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0 UNION ALL SELECT c.tx, 'holdfast_conflict' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_holdfast_conflict" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0) UNION ALL SELECT table_name, row_key, 'conflict' FROM holdfast_conflict WHERE state = 'open' UNION ALL SELECT tbl, key, 'synced' FROM holdfast_row) GROUP BY tbl, key);
CREATE VIEW holdfast_inbox AS SELECT 'conflict' AS kind, id, table_name AS tbl, row_key AS key, column_name AS field, '' AS code, '' AS message, at FROM holdfast_conflict WHERE state = 'open' UNION ALL SELECT x.state, CAST(x.number AS TEXT), c.tbl, c.key, x.field, x.code, x.message, x.decided_us FROM holdfast_tx AS x LEFT JOIN (SELECT c.tx, 'item' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_item" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0 UNION ALL SELECT c.tx, 'pair' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_pair" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0 UNION ALL SELECT c.tx, 'num' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_num" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0 UNION ALL SELECT c.tx, 'raw' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_raw" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0 UNION ALL SELECT c.tx, 'tag' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_tag" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0 UNION ALL SELECT c.tx, 'holdfast_conflict' AS tbl, c.key, CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' ELSE 'insert' END AS kind, c.held, CASE WHEN c.held AND coalesce(x.state, 'pending') IN ('pending', 'sent') THEN 'held' ELSE coalesce(x.state, 'pending') END AS state FROM "holdfast_change_holdfast_conflict" AS c LEFT JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.was = 1 OR c.now IS NOT 0) AS c ON c.tx = x.number WHERE x.state IN ('refused', 'held');
COMMIT;
