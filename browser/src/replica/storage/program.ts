/**
 * The replica program as a host runs it: statements, and the tables they were compiled from.
 *
 * Knows: the program's JSON form (`protocol/schema/program.json`). Must not know: when a statement
 * is run.
 */

import { HoldfastError, SchemaError } from "../../core/errors.js";
import { type Table, tableOf } from "../../core/schema.js";
import {
  type Bookkeeping,
  type Reference,
  type ReplicaProgram,
  type TableMigration,
  type TableProgram,
  VERSION as PROGRAM_FORMAT,
} from "../../protocol/program.generated.js";

export {
  type Bookkeeping,
  PROGRAM_FORMAT,
  type Reference,
  type ReplicaProgram,
  type TableMigration,
  type TableProgram,
};

export interface Program {
  readonly json: ReplicaProgram;
  /** All synced tables in declared order, the engine's own last. */
  readonly tables: readonly Table[];
  readonly byName: ReadonlyMap<string, Table>;
  readonly statements: (table: Table) => TableProgram;
  /** The statements on the engine's own tables. */
  readonly bookkeeping: Bookkeeping;
}

/** Read a program. Throws `SchemaError`: `program_format` when this version cannot run it. */
export function readProgram(json: ReplicaProgram): Program {
  if (json.format !== PROGRAM_FORMAT)
    throw new SchemaError(
      `the program has format ${String(json.format)}, this version runs ${PROGRAM_FORMAT}`,
      "program_format",
    );
  return readAnyProgram(json);
}

/** Read a program, whatever its format: that of a file that is going to be migrated. */
export function readAnyProgram(json: ReplicaProgram): Program {
  try {
    const tables = [...json.schema.tables, ...json.engine_tables].map(tableOf);
    const byName = new Map(tables.map((table) => [table.name, table]));
    const statements = (table: Table): TableProgram => {
      const found = json.tables[table.name];
      if (found === undefined) throw new SchemaError(`the program has no table ${table.name}`);
      return found;
    };
    tables.forEach(statements);
    const { bookkeeping } = json;
    if (typeof bookkeeping !== "object") throw new SchemaError("the program has no bookkeeping");
    return { json, tables, byName, statements, bookkeeping };
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    throw new SchemaError(`this is not a replica program: ${String(error)}`);
  }
}
