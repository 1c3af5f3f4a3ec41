/**
 * A snapshot file, looked at before anything of it is copied.
 *
 * Knows: the layout of the file. Must not know: the replica's database, or how the file came.
 * Its bytes are those that the server offered, yet it is a database that somebody else has made: it is
 * opened for reading, with nothing in it trusted, and it has to be exactly what it should be: the
 * declared plain tables and no others, no view, trigger, index or computed column, each row under its
 * own key and with the hash of its values, and hashes whose sum is the digest of the position it
 * brings. All of it is looked at before the import begins, when nobody waits for it.
 *
 * Upholds I12 and I36 (what does not add up is refused whole), I31 (it is read piece by piece, and no
 * value is larger than a line of an answer could be).
 */

import { Digest, HASH_BYTES, RowHasher, sumOf } from "../../core/digest.js";
import {
  BadValue,
  DatabaseError,
  DatabaseFull,
  FileRefused,
  HoldfastError,
  messageOf,
} from "../../core/errors.js";
import type { Row } from "../../core/keys.js";
import { same } from "../../core/values.js";
import { INTEGER_MAX, INTEGER_MIN, RESPONSE_LINE_BYTES_MAX } from "../../core/limits.js";
import type { Position } from "../../protocol/messages.generated.js";
import { type Connection, whole } from "../../sqlite/connection.js";
import type { Program } from "../storage/program.js";
import { breathe } from "../mutex.js";

const SNAPSHOT_FORMAT = 1n;
const OWN = ["holdfast_key", "holdfast_rev", "holdfast_hash"];
const ABOUT = [
  ...["format", "epoch", "scope", "version", "count", "digest", "seal"],
  ...["fingerprint", "generation"],
];

/** A file that was looked at: the rows of `scope` at `position`, under a name in the keep. */
export interface SnapshotFile {
  readonly name: string;
  readonly scope: string;
  readonly position: Position;
  readonly rows: number;
}

/** Description of the file that is wanted: rows of this scope, at this position, of this epoch of the server, hashed
 * with the scope's key. */
export interface Expected {
  readonly epoch: string;
  readonly scope: string;
  readonly hashKey: Uint8Array;
  readonly position: Position;
}

/** Look at one file. Throws `FileRefused` when it is not what it should be. */
export async function checkSnapshot(
  open: () => Connection,
  program: Program,
  expected: Expected,
  onRows: (rows: number) => void,
): Promise<void> {
  let db: Connection | null = null;
  try {
    db = open();
    db.limitValues(RESPONSE_LINE_BYTES_MAX);
    for (const setting of ["trusted_schema = 0", "cell_size_check = 1", "query_only = 1"])
      db.execute(`PRAGMA ${setting}`);
    checkTables(db, program);
    checkAbout(db, program, expected);
    const [[health] = []] = db.execute("PRAGMA quick_check(1)");
    if (health !== "ok") throw new FileRefused("it is damaged");
    const digest = await sumUp(db, program, expected.hashKey, onRows);
    const { count, digest: told } = expected.position;
    if (digest.count !== count || digest.hex !== told)
      throw new FileRefused("its rows do not add up to the digest of its position");
  } catch (error) {
    const ours = error instanceof HoldfastError;
    const unreadable = error instanceof DatabaseError || error instanceof BadValue || !ours;
    if (unreadable && !(error instanceof DatabaseFull))
      throw new FileRefused(`it cannot be read: ${messageOf(error)}`);
    throw error;
  } finally {
    db?.close();
  }
}

/** Nothing but the tables that have to be there, each with its columns and no more. */
function checkTables(db: Connection, program: Program): void {
  const wanted = new Map<string, readonly string[]>([["holdfast_snapshot", ABOUT]]);
  for (const { name, columns } of program.tables)
    wanted.set(name, [...OWN, ...columns.map((column) => column.name)]);
  // Virtual tables have no page of their own; asking for their columns would run their code.
  const found = db.execute("SELECT type, name, tbl_name, rootpage FROM sqlite_schema LIMIT 1000");
  for (const [kind, name, table, page] of found) {
    const plain = kind === "table" && name === table && typeof page === "bigint" && page > 1n;
    if (!plain || !wanted.has(String(name)))
      throw new FileRefused(`it has a ${String(kind)} ${String(name)} that does not belong there`);
  }
  if (found.length !== wanted.size) throw new FileRefused("tables are missing");
  for (const [name, columns] of wanted) {
    const info = db.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", [name]);
    const same =
      info.length === columns.length &&
      info.every(([column, hidden], at) => column === columns[at] && hidden === 0n);
    if (!same) throw new FileRefused(`its table ${name} has other columns`);
    const [listed] = db.execute(
      "SELECT type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?",
      [name],
    );
    if (listed?.[0] !== "table" || listed[1] !== 0n)
      throw new FileRefused(`its table ${name} is no plain table`);
  }
}

function checkAbout(db: Connection, program: Program, expected: Expected): void {
  const { position } = expected;
  const wanted: Row = [
    ...[SNAPSHOT_FORMAT, expected.epoch, expected.scope, BigInt(position.version)],
    ...[BigInt(position.count), position.digest, position.seal],
    ...[program.json.fingerprint, BigInt(program.json.schema.generation ?? 1)],
  ];
  const [row, another] = db.execute(program.json.load_about);
  if (another !== undefined || !wanted.every((value, at) => row?.[at] === value))
    throw new FileRefused("it is of another scope, version, epoch or schema");
}

/** Look at each row's key, revision, values and hash; the digest of all. */
async function sumUp(
  db: Connection,
  program: Program,
  hashKey: Uint8Array,
  onRows: (rows: number) => void,
): Promise<Digest> {
  let digest = new Digest();
  for (const table of program.tables) {
    const { look, hashed } = program.statements(table).load;
    const hasher = new RowHasher(hashKey, table.name);
    for (let after = INTEGER_MIN; after < INTEGER_MAX;) {
      const [[last, rows, bad, hashes] = []] = db.execute(look, [after]);
      if (rows === 0n) break;
      if (bad !== 0n || typeof last !== "bigint" || typeof hashes !== "string")
        throw new FileRefused(`rows of ${table.name} are not under their own keys`);
      const count = whole(rows);
      if (hashes.length !== 2 * HASH_BYTES * count)
        throw new FileRefused(`hashes of ${table.name} have another length`);
      await checkValues(db, hashed, hasher, after, last, table.name);
      digest = digest.withSum(count, sumOf(hashes));
      after = last;
      onRows(digest.count);
      await breathe();
    }
  }
  return digest;
}

/** Hash the rows from behind a rowid to another anew. */
async function checkValues(
  db: Connection,
  sql: string,
  hasher: RowHasher,
  after: bigint,
  last: bigint,
  table: string,
): Promise<void> {
  for (let at = after; at < last;) {
    for (const [rowid, told, ...row] of db.execute(sql, [at, last])) {
      if (!same(hasher.hash(row), told ?? null))
        throw new FileRefused(`a row of ${table} is not what its hash says`);
      if (typeof rowid === "bigint") at = rowid;
    }
    await breathe();
  }
}
