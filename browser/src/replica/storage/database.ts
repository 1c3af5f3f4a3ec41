/**
 * A replica's database: created from the replica program, checked at every open.
 *
 * Knows: the tables of the engine and the one state row. Must not know: what is exchanged.
 * Upholds the promise that a capture that does not fit the schema is an error at open, never a
 * silent gap. One connection serves the app (foreign keys enforced) and sync (not enforced: server
 * truth never fails to apply): the file can be opened once only. A file of an older generation, or
 * format, is migrated when a newer program is given.
 */

import { textHash } from "../../core/digest.js";
import { DatabaseCorrupt, ReplicaError, SchemaError } from "../../core/errors.js";
import { byCodePoint } from "../../core/keys.js";
import type { Value } from "../../core/values.js";
import { type Connection, whole } from "../../sqlite/connection.js";
import { HOST, type Host } from "../host.js";
import { migrate, wayTo } from "../migration/migrate.js";
import {
  type Bookkeeping,
  PROGRAM_FORMAT,
  type Program,
  readAnyProgram,
  readProgram,
  type ReplicaProgram,
} from "./program.js";

const WRITES =
  /\b(?:insert\s+(?:or\s+\w+\s+)?into|replace\s+into|update(?:\s+or\s+\w+)?|delete\s+from)\s+["'`[]?(\w+)/gi;
const COMMENTS = /'(?:[^']|'')*'|\/\*[\s\S]*?\*\/|--[^\n]*/g;

/** What this host keeps beside the data: the program, which only the server can compile, so that a
 * page starts offline; and which requests have been carried out, so that none is twice. */
const HOST_TABLES = `
CREATE TABLE IF NOT EXISTS holdfast_host (
  name TEXT PRIMARY KEY, value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS holdfast_request (
  id TEXT PRIMARY KEY, at INTEGER NOT NULL, answer TEXT NOT NULL
) STRICT, WITHOUT ROWID`;

export type StateColumn =
  | "open_tx"
  | "stamp_us"
  | "device"
  | "user"
  | "epoch"
  | "nonce"
  | "next_nonce"
  | "confirmed"
  | "offset_us"
  | "offset_error_us"
  | "verified_us"
  | "server_generation"
  | "mismatches"
  | "applying"
  | "capture"
  | "replica"
  | "origin"
  | "origin_last"
  | "forks"
  | "place"
  | "backed_up"
  | "kept_bytes"
  | "kept_lost";

export class LocalDatabase {
  readonly connection: Connection;
  readonly program: Program;
  /** To be called again and again by long work of ours: it gets on. */
  readonly working: () => void;

  #checked = true;

  private constructor(connection: Connection, program: Program, working: () => void) {
    this.connection = connection;
    this.program = program;
    this.working = working;
  }

  /**
   * Open what is there, or make it. `seal`: makes the log of a file that is migrated into transactions;
   * `working`: told from the middle of long work that it gets on. Throws `ReplicaError`: `no_replica`
   * without file and program, `replica_newer` for an older program than the file's.
   */
  static open(
    connection: Connection,
    given: ReplicaProgram | null,
    seal: (database: LocalDatabase) => void,
    working: () => void = () => undefined,
    host: Host = HOST,
  ): LocalDatabase {
    const exists = namesIn(connection).has("holdfast_state");
    if (!exists && given === null)
      throw new ReplicaError(
        "there is no replica here yet, and no program to make it",
        "no_replica",
      );
    if (exists) {
      connection.script(HOST_TABLES); // a file that another host made has none
      if (given !== null) LocalDatabase.#migrate(connection, given, seal, working, host);
    }
    const program = exists || given === null ? stored(connection, given) : readProgram(given);
    const database = new LocalDatabase(connection, program, working);
    if (!exists) connection.transaction(() => database.#create());
    database.#checkCapture();
    return database;
  }

  /** The statements on the engine's own tables. */
  get bookkeeping(): Bookkeeping {
    return this.program.bookkeeping;
  }

  /** Columns of the one state row. */
  state(...columns: StateColumn[]): Value[] {
    const [row] = this.connection.execute(`SELECT ${columns.join(", ")} FROM holdfast_state`);
    if (row === undefined) throw new DatabaseCorrupt("the replica's state row is not readable");
    return [...row];
  }

  /** Texts of the state row. */
  texts(...columns: StateColumn[]): string[] {
    return this.state(...columns).map(String);
  }

  writeState(columns: Partial<Record<StateColumn, Value>>): void {
    const names = Object.keys(columns);
    const assignments = names.map((name) => `${name} = ?`).join(", ");
    this.connection.execute(`UPDATE holdfast_state SET ${assignments}`, Object.values(columns));
  }

  /** Return what a statement counts. */
  count(sql: string, ...params: Value[]): number {
    const [row] = this.connection.execute(sql, params);
    return whole(row?.[0]);
  }

  /** Something the host remembers beside the data: texts by name. */
  recall(name: string): string | null {
    return recalled(this.connection, name);
  }

  remember(name: string, value: string): void {
    remember(this.connection, name, value);
  }

  /** A write transaction in which foreign keys are not enforced, for server truth. */
  syncTransaction<T>(work: () => T): T {
    // The pragma is without effect inside a transaction, so it stands around it.
    this.connection.execute("PRAGMA foreign_keys = 0");
    try {
      return this.connection.transaction(work);
    } finally {
      this.connection.execute("PRAGMA foreign_keys = 1");
    }
  }

  /** The same in steps, with a moment for others between them (who cannot touch the database: the
   * caller has its turn). Whatever is thrown, in a step or between, undoes all of it. */
  async syncSteps<Step, T>(
    work: () => Generator<Step, T, void>,
    between: (step: Step) => Promise<void>,
  ): Promise<T> {
    this.connection.tellOfWork(this.working);
    this.connection.execute("PRAGMA foreign_keys = 0");
    try {
      // Not at once of all that is attached: files are only read, and nobody else has this one.
      this.connection.execute("BEGIN");
      try {
        const steps = work();
        let step = steps.next();
        while (!step.done) {
          await between(step.value);
          step = steps.next();
        }
        this.connection.execute("COMMIT");
        return step.value;
      } catch (error) {
        this.connection.rollback();
        throw error;
      }
    } finally {
      this.checked(true);
      this.connection.execute("PRAGMA foreign_keys = 1");
      this.connection.tellOfWork(null);
    }
  }

  /** Ask declared checks, or leave them alone while the server's own rows are written: a server of a
   * newer generation may have looser ones. Types are enforced all the same. */
  checked(on: boolean): void {
    if (on === this.#checked) return;
    this.connection.execute(`PRAGMA ignore_check_constraints = ${on ? 0 : 1}`);
    this.#checked = on;
  }

  /** Leave declared checks alone for this. */
  unchecked<T>(work: () => T): T {
    this.checked(false);
    try {
      return work();
    } finally {
      this.checked(true);
    }
  }

  /** Long work of ours that needs no moment for others: its statements tell that they get on. */
  atWork<T>(work: () => T): T {
    this.connection.tellOfWork(this.working);
    try {
      return work();
    } finally {
      this.connection.tellOfWork(null);
    }
  }

  /** Keep capture quiet inside the current write transaction; nobody else ever sees the flag. */
  applying<T>(work: () => T): T {
    this.writeState({ applying: 1n });
    const result = work();
    this.writeState({ applying: 0n });
    return result;
  }

  /** The names of all that is in the file: tables, and what belongs to them. */
  names(): Set<string> {
    return namesIn(this.connection);
  }

  /** Make a file of an older generation or format one of the program's, in one transaction. */
  static #migrate(
    connection: Connection,
    given: ReplicaProgram,
    seal: (database: LocalDatabase) => void,
    working: () => void,
    host: Host,
  ): void {
    const [row] = connection.execute(
      "SELECT format, fingerprint, coalesce(json_extract(schema, '$.generation'), 1) FROM holdfast_state",
    );
    const [format, generation] = [whole(row?.[0]), whole(row?.[2])];
    const wanted = given.schema.generation ?? 1;
    const sameSchema = row?.[1] === given.fingerprint;
    if (generation > wanted)
      throw new ReplicaError(
        "the replica is of a newer version of the app than this one: load it again; nothing was changed",
        "replica_newer",
      );
    if (sameSchema && format === PROGRAM_FORMAT) return;
    if (!sameSchema && generation === wanted)
      throw new SchemaError(
        `the replica was made for another schema of generation ${generation}: raise the generation ` +
          "of the new one; nothing was changed",
        "generation_reused",
      );
    const program = readProgram(given);
    const kept = recalled(connection, "program");
    if (kept === null)
      throw new ReplicaError("the replica's own program is missing, which made it", "no_program");
    const before = readAnyProgram(JSON.parse(kept) as ReplicaProgram);
    const old = new LocalDatabase(connection, before, working);
    old.#mustBeCaptured();
    const formats = Array.from({ length: PROGRAM_FORMAT - format }, (_, at) => format + at);
    const needed = formats.map((one) => given.migration.formats[String(one)]);
    if (needed.includes(undefined))
      throw new ReplicaError(
        `the replica has format ${format}, this version reads ${PROGRAM_FORMAT}`,
        "replica_format",
      );
    const database = new LocalDatabase(connection, program, working);
    const way = wayTo(before, program);
    // A table that is made anew is dropped, and what others say of it stays as it is written.
    connection.execute("PRAGMA legacy_alter_table = 1");
    try {
      old.syncTransaction(() =>
        old.atWork(() => {
          seal(old);
          const capture = captureDigest(new Map(Object.entries(given.triggers)));
          migrate({ old, database, host }, way, capture, needed.flat() as string[]);
          remember(connection, "program", JSON.stringify(given));
        }),
      );
    } finally {
      connection.execute("PRAGMA legacy_alter_table = 0");
    }
  }

  #create(): void {
    const { json } = this.program;
    const taken = [...this.names()].sort().slice(0, 5);
    if (taken.length > 0)
      throw new ReplicaError(
        `the file is a database of something else (it has ${taken.join(", ")}); ` +
          "nothing was changed. Give the replica a file of its own",
        "not_empty",
      );
    const statements = [
      ...json.create,
      ...Object.values(json.triggers),
      ...Object.values(json.views),
      ...json.local,
      HOST_TABLES,
    ];
    for (const sql of statements) this.connection.script(sql);
    this.connection.execute(this.bookkeeping.state.make, [
      BigInt(PROGRAM_FORMAT),
      json.fingerprint,
      JSON.stringify(json.schema),
      captureDigest(new Map(Object.entries(json.triggers))),
    ]);
    this.remember("program", JSON.stringify(json));
  }

  /** Every capture trigger is there, as it was made: they, and all others. */
  #mustBeCaptured(): readonly [Map<string, string>, Map<string, string>] {
    const wanted = new Map(Object.entries(this.program.json.triggers));
    const ours = new Map<string, string>();
    const others = new Map<string, string>();
    for (const [name, sql] of this.connection.execute(this.bookkeeping.state.triggers))
      (String(name).startsWith("holdfast_") ? ours : others).set(String(name), String(sql));
    const [made] = this.state("capture");
    if (captureDigest(ours) !== made) {
      const missing = [...wanted.keys()].filter((name) => !ours.has(name)).sort();
      throw new SchemaError(
        `capture triggers are missing or were changed (${missing.join(", ") || "changed"}); ` +
          "changes may have gone unnoticed, so the replica does not open",
        "capture_broken",
      );
    }
    return [ours, others];
  }

  /** Every capture trigger is there, as it was made; no other trigger writes synced tables. */
  #checkCapture(): void {
    const wanted = new Map(Object.entries(this.program.json.triggers));
    const [ours, others] = this.#mustBeCaptured();
    const [made] = this.state("capture");
    if (captureDigest(wanted) !== made) this.#renew(ours, wanted);
    for (const [name, sql] of others) {
      const plain = sql.replace(COMMENTS, (found) => (found.startsWith("'") ? found : " "));
      const writes = [...plain.matchAll(WRITES)]
        .map((found) => (found[1] ?? "").toLowerCase())
        .filter((table) => this.program.byName.has(table));
      if (writes.length > 0 && !sql.includes("holdfast_state"))
        throw new SchemaError(
          `the trigger ${name} writes the synced table ${writes.join(", ")}; ` +
            "let it test holdfast_state.applying, or write an unsynced table",
          "trigger_writes_synced",
        );
    }
  }

  /** Replace the triggers and views of an older engine by this one's, in one transaction. */
  #renew(old: ReadonlyMap<string, string>, wanted: ReadonlyMap<string, string>): void {
    const { views } = this.program.json;
    this.connection.transaction(() => {
      for (const name of old.keys()) this.connection.script(`DROP TRIGGER IF EXISTS "${name}"`);
      for (const name of Object.keys(views))
        this.connection.script(`DROP VIEW IF EXISTS "${name}"`);
      for (const sql of [...wanted.values(), ...Object.values(views)]) this.connection.script(sql);
      this.writeState({ capture: captureDigest(wanted) });
    });
  }
}

/** Return what the capture triggers say, as 32 hex digits. */
function captureDigest(triggers: ReadonlyMap<string, string>): string {
  const sorted = [...triggers].sort(([left], [right]) => byCodePoint(left, right));
  return textHash(sorted.map(([name, sql]) => `${name}\0${sql}`).join("\0"));
}

/** The names of all that is in a file: tables, and what belongs to them. */
function namesIn(connection: Connection): Set<string> {
  return new Set(
    connection.execute("SELECT name FROM sqlite_schema").map(([name]) => String(name)),
  );
}

function recalled(connection: Connection, name: string): string | null {
  const [row] = connection.execute("SELECT value FROM holdfast_host WHERE name = ?", [name]);
  return row === undefined ? null : String(row[0]);
}

function remember(connection: Connection, name: string, value: string): void {
  connection.execute(
    "INSERT INTO holdfast_host (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    [name, value],
  );
}

/** The program of the replica that is there, or the one that is given for it. */
function stored(connection: Connection, given: ReplicaProgram | null): Program {
  const [row] = connection.execute("SELECT format, fingerprint FROM holdfast_state");
  if (row?.[0] !== BigInt(PROGRAM_FORMAT))
    throw new ReplicaError(
      `the replica has format ${String(row?.[0])}, this version reads ${PROGRAM_FORMAT}`,
      "replica_format",
    );
  const fingerprint = String(row[1]);
  if (given !== null && given.fingerprint !== fingerprint)
    throw new SchemaError(
      "the replica was made for another schema; nothing was changed",
      "schema_mismatch",
    );
  const kept = recalled(connection, "program");
  if (kept === null && given === null)
    throw new ReplicaError("the replica's program is missing; give it one", "no_program");
  if (given !== null && JSON.stringify(given) !== kept) {
    connection.transaction(() => remember(connection, "program", JSON.stringify(given)));
    return readProgram(given);
  }
  return readProgram(JSON.parse(kept ?? "null") as ReplicaProgram);
}
