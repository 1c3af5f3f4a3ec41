/** What a conflict's card asks about price, cost and currency, which are one decision. */

import type { Conflict } from "@holdfast/browser";
import { expect, test, vi } from "vitest";

vi.stubGlobal("navigator", { language: "en" }); // Node has none
const { choiceOf, isTypable, shownOf, subjectOf, typedOf } =
  await import("../../src/screens/sides.js");

type Sides = Pick<Conflict, "column" | "kind" | "deviceValue" | "serverValue">;
const amounts = (price: string, currency: string, cost: string | null = null): object => ({
  price,
  cost,
  currency,
});
const about = (deviceValue: object, serverValue: object): Sides => ({
  ...{ column: "price,cost,currency", kind: "edit", deviceValue, serverValue },
});

test("an amount is shown in its own currency on both sides", () => {
  const conflict = about(amounts("1600", "JPY"), amounts("1600", "EUR"));
  expect(subjectOf(conflict)).toBe("price");
  expect(shownOf(conflict, conflict.deviceValue)).toBe("¥1,600");
  expect(shownOf(conflict, conflict.serverValue)).toBe("€16.00");
  expect(isTypable(conflict)).toBe(false);
});

test("a price alone is asked about alone, and typed over with all that belongs to it", () => {
  const conflict = about(amounts("1100", "EUR", "400"), amounts("1200", "EUR", "400"));
  expect(subjectOf(conflict)).toBe("price");
  expect(shownOf(conflict, conflict.deviceValue)).toBe("€11.00");
  expect([isTypable(conflict), typedOf(conflict, "server")]).toEqual([true, "12.00"]);
  expect(choiceOf(conflict, "11.50")).toEqual({ value: amounts("1150", "EUR", "400") });
  expect(choiceOf(conflict, "cheap")).toBeUndefined();
});

test("a cost is called a cost, and none is told", () => {
  const conflict = about(amounts("1100", "EUR", "400"), amounts("1100", "EUR"));
  expect(subjectOf(conflict)).toBe("cost");
  expect(shownOf(conflict, conflict.deviceValue)).toBe("€4.00");
  expect(shownOf(conflict, conflict.serverValue)).toBe("(empty)");
});

test("a price of one and a cost of the other are shown together", () => {
  const conflict = about(amounts("1100", "EUR", "400"), amounts("1200", "EUR", "500"));
  expect(subjectOf(conflict)).toBe("money");
  expect(shownOf(conflict, conflict.serverValue)).toBe("€12.00 (cost €5.00)");
  expect(isTypable(conflict)).toBe(false);
});

test("other columns and removals are as they were", () => {
  const sku = { column: "sku", kind: "edit", deviceValue: "A", serverValue: "B" };
  expect([subjectOf(sku), shownOf(sku, "A"), isTypable(sku)]).toEqual(["sku", "A", true]);
  expect(choiceOf(sku, " C ")).toEqual({ value: "C" });
  const gone = { column: "", kind: "delete", deviceValue: null, serverValue: { price: "1" } };
  expect(shownOf(gone, null)).toBe("removed");
  expect(isTypable(gone)).toBe(false);
});

test("a cost that is kept apart is asked about with its own currency", () => {
  const apart = (cost: string | null): object => ({ cost, currency: "EUR" });
  const conflict = {
    ...{ column: "cost,currency", kind: "edit" as const },
    ...{ deviceValue: apart("500"), serverValue: apart(null) },
  } as unknown as Sides;
  expect([subjectOf(conflict), shownOf(conflict, conflict.deviceValue)]).toEqual(["cost", "€5.00"]);
  expect(choiceOf(conflict, "6.50")).toEqual({ value: { cost: "650", currency: "EUR" } });
});
