/**
 * What the person at this device may do, as the server would decide it; known without a connection.
 *
 * Knows: the scopes that were granted, which tell the role, and what the shop says that a role may do. Must not
 * know: how it is shown. Nothing here protects anything: the server's rules do.
 */

import { SEES_COSTS } from "./costs.js";
import { Live } from "./live.svelte.js";
import { asText, asTruth, asWhole, select } from "./rows.js";
import { DEEDS, DEEDS_OF_EMPLOYEES } from "./schema.generated.js";

export type Role = "employee" | "manager" | "owner";
export type Deed = (typeof DEEDS)[number];

/** Whoever writes `staff` is an owner, whoever reads it a manager. */
const ROLE = select(
  { scopes: asWhole("count(*)"), writes: asWhole("coalesce(max(scope = 'staff' AND writable = 1), 0)"),
    reads: asWhole("coalesce(max(scope = 'staff'), 0)") }, // prettier-ignore
  "FROM holdfast_scope",
);
const SAID = select(
  { role: asText("role"), deed: asText("deed"), allowed: asTruth("allowed") },
  "FROM permission",
);

class Rights {
  /** Null until it is known; then nothing is kept from anybody. */
  role = $state<Role | null>(null);
  /** Whether this device has what goods cost. */
  costs = $state(false);
  #said = $state.raw<ReadonlyMap<string, boolean>>(new Map());

  say(rows: readonly { role: string; deed: string; allowed: boolean }[]): void {
    this.#said = new Map(rows.map(({ role, deed, allowed }) => [`${role} ${deed}`, allowed]));
  }

  may(deed: Deed): boolean {
    return this.role === null || this.isAllowed(this.role, deed);
  }

  isAllowed(role: Role, deed: Deed): boolean {
    if (role === "owner") return true;
    const byDefault =
      role === "manager" || (DEEDS_OF_EMPLOYEES as readonly string[]).includes(deed);
    return this.#said.get(`${role} ${deed}`) ?? byDefault;
  }

  /** Whom to ask for what one may not do. */
  whoMay(deed: Deed): "managers" | "owner" {
    return this.role !== "manager" && this.isAllowed("manager", deed) ? "managers" : "owner";
  }
}

export const rights = new Rights();

/** Follow them for as long as the calling component lives. */
export function followRights(): void {
  const role = new Live(
    () => ROLE,
    ([found]) => found,
  );
  const costs = new Live(
    () => SEES_COSTS,
    ([found]) => (found?.count ?? 0) > 0,
  );
  const said = new Live(
    () => SAID,
    (rows) => rows,
  );
  $effect(() => {
    const found = role.value;
    if (found === undefined || found.scopes === 0) return;
    rights.role = found.writes > 0 ? "owner" : found.reads > 0 ? "manager" : "employee";
  });
  $effect(() => {
    rights.costs = costs.value ?? false;
  });
  $effect(() => rights.say(said.value ?? []));
}
