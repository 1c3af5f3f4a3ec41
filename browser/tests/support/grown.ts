/** The shop of the next generation, by what is only added, or by declared steps. */

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

/** What it becomes by declared steps: a column with another name, one that goes, and a tighter check. */
export const declared: Shop = next(shop, {
  tables: [
    ...withTable(shop, "stock", ({ columns }) => ({
      columns: [
        ...columns
          .filter(({ name }) => name !== "weight")
          .map((one) => (one.name === "name" ? { ...one, name: "title" } : one)),
        { name: "vat", type: "integer", default: "20" },
        { name: "origin", nullable: true },
      ],
      checks: [{ column: "title", kind: "length", max: 39 }],
    })),
    { name: "tag", key: ["id"], columns: [{ name: "id" }], scopes: ["main"] },
  ],
  migrations: [
    {
      generation: (shop.generation ?? 1) + 1,
      steps: [
        { kind: "rename_column", table: "stock", column: "name", to: "title" },
        { kind: "drop_column", table: "stock", column: "weight" },
        { kind: "tighten_check", table: "stock", column: "title" },
      ],
    },
  ],
});

/** What is only added: a table and columns, one with a fill, and a check that is looser. */
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
