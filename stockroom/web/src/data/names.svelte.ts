/**
 * What people and devices are called: rows and events know them by what they sign in with, and by ids.
 *
 * Knows: the tables of people and devices. Must not know: where a name is shown. The twin of `stockroom/names.py`.
 */

import { Live } from "./live.svelte.js";
import { replica } from "./replica.js";
import { type Deed, rights } from "./rights.svelte.js";
import { asText, asTruth, type Row, select } from "./rows.js";
import { place } from "./stores.svelte.js";

const PERSON = {
  ...{ login: asText("p.login"), name: asText("p.name"), role: asText("p.role") },
  here: asTruth("EXISTS (SELECT 1 FROM works_at WHERE store_id = ?1 AND login = p.login)"),
};
/** Somebody of the shop. `role`: "" where they are let in no more; `here`: whether they work at the store. */
export type Somebody = Row<typeof PERSON>;
export const people = (store: string) =>
  select(PERSON, "FROM person AS p ORDER BY p.name COLLATE NOCASE, p.login", [store]);
const DEVICES = select({ id: asText("id"), name: asText("name") }, "FROM device WHERE name <> ''");

class Names {
  people = $state.raw<readonly Somebody[]>([]);
  devices = $state.raw<ReadonlyMap<string, string>>(new Map());
}
const names = new Names();

/** The name of whoever signs in so; what they sign in with where they have no other. */
export const called = (login: string): string =>
  names.people.find((one) => one.login === login)?.name ?? login;

/** The name of a device, such as "Dilan's tablet"; "" where it has none. */
export const deviceCalled = (device: string): string => names.devices.get(device) ?? "";

/** Those who may do here what whoever works at this device may not, as `rights.whoMay` means them. */
export function whoMay(deed: Deed): readonly string[] {
  const owners = names.people.filter(({ role }) => role === "owner");
  const managers = names.people.filter(({ role, here }) => role === "manager" && here);
  const found = rights.whoMay(deed) === "managers" && managers.length > 0 ? managers : owners;
  return found.map(({ name }) => name);
}

/** Follow the names for as long as the calling component lives. */
export function followNames(): void {
  const found = new Live(
    () => people(place.store),
    (rows) => rows,
  );
  const devices = new Live(
    () => DEVICES,
    (rows) => new Map(rows.map(({ id, name }) => [id, name])),
  );
  $effect(() => {
    names.people = found.value ?? [];
    names.devices = devices.value ?? new Map();
  });
}

export async function renamePerson(login: string, name: string): Promise<void> {
  const sql = "UPDATE person SET name = ? WHERE login = ?";
  await replica().write([{ sql, params: [name, login] }]);
}

export async function renameDevice(id: string, name: string): Promise<void> {
  await replica().write([{ sql: "UPDATE device SET name = ? WHERE id = ?", params: [name, id] }]);
}
