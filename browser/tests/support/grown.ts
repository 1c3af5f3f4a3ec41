/** The shop of the next generation: a table and columns more, and a check that is looser. */

import { readFileSync } from "node:fs";

import type { ReplicaProgram } from "../../src/replica/storage/program.js";
import { SCHEMA } from "./processes.js";

export type Shop = ReplicaProgram["schema"];

export const shop = JSON.parse(readFileSync(SCHEMA, "utf8")) as Shop;

/** A schema of the next generation with something more, or else. */
export function next(of: Shop, changed: Partial<Shop>): Shop {
  return { ...of, generation: (of.generation ?? 1) + 1, ...changed };
}

/** The tables of a schema, one of them with something else. */
export function withTable(
  of: Shop,
  name: string,
  changed: (table: Shop["tables"][number]) => Partial<Shop["tables"][number]>,
): Shop["tables"] {
  return of.tables.map((one) => (one.name === name ? { ...one, ...changed(one) } : one));
}

/** What a server can grow into in place. */
export const served: Shop = next(shop, {
  tables: [
    ...withTable(shop, "stock", ({ columns }) => ({
      columns: [
        ...columns,
        { name: "vat", type: "integer", default: "20" },
        { name: "origin", nullable: true },
      ],
    })),
    { name: "tag", key: ["id"], columns: [{ name: "id" }], scopes: ["main"] },
  ],
});

/** The same with a fill, and a check that is looser. */
export const grown: Shop = next(shop, {
  tables: [
    ...withTable(shop, "stock", ({ columns }) => ({
      columns: [
        ...columns,
        { name: "vat", type: "integer", default: "20" },
        { name: "label", fill: "upper(name)", default: "" },
        { name: "origin", nullable: true },
      ],
      checks: [{ column: "name", kind: "length", max: 60 }],
    })),
    { name: "tag", key: ["id"], columns: [{ name: "id" }], scopes: ["main"] },
  ],
});
