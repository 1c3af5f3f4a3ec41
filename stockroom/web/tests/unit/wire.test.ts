/** A change that the server has refused, as its card tells it. */

import { expect, test, vi } from "vitest";

vi.stubGlobal("navigator", { language: "en" }); // Node has none
const { labelOf, shown, told } = await import("../../src/screens/wire.js");

const tell = (made: Readonly<Record<string, unknown>>): string[] =>
  told(made).map(([name, value]) => `${labelOf(name)}: ${shown(name, value, "EUR")}`);

test("goods that were received", () => {
  expect(
    tell({
      ...{ id: "0190", product_id: "0191", location_id: "0192", store_id: "hs", quantity: "24" },
      ...{ kind: "receive", reason: "", document: "DN-7", person: "ada", device: "d" },
      ...{ occurred_at: "1790000000000000", note: "", reverses: null },
    }),
  ).toEqual(["quantity: +24", "kind: Received", "document: DN-7"]);
});

test("an adjustment names its reason once, and no other entry by its id", () => {
  expect(tell({ quantity: "-3", kind: "damage", reason: "damage", note: "wet" })).toEqual([
    "quantity: −3",
    "kind: Damaged",
    "note: wet",
  ]);
  expect(tell({ quantity: "3", kind: "reversal", reverses: "0190" })).toEqual([
    "quantity: +3",
    "kind: Undone",
  ]);
});

test("a product and its barcode", () => {
  expect(tell({ id: "0190", sku: "FIG-1", name: "Figs", price: "500", archived: false })).toEqual([
    "SKU: FIG-1",
    "name: Figs",
    "price: €5.00",
    "archived: no",
  ]);
  expect(tell({ code: "4006381333931", product_id: "0190" })).toEqual(["barcode: 4006381333931"]);
});
