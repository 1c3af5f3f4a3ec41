/**
 * What people are called: rows and events know them by what they sign in with.
 *
 * Knows: the table of people. Must not know: where a name is shown.
 */

import { Live } from "./live.svelte.js";
import { asText, select } from "./rows.js";

const PEOPLE = select({ login: asText("login"), name: asText("name") }, "FROM person");

class Names {
  known = $state.raw<ReadonlyMap<string, string>>(new Map());
}
const names = new Names();

/** The name of whoever signs in so; what they sign in with where they have no other. */
export const called = (login: string): string => names.known.get(login) ?? login;

/** Follow the names for as long as the calling component lives. */
export function followNames(): void {
  const people = new Live(
    () => PEOPLE,
    (rows) => new Map(rows.map(({ login, name }) => [login, name])),
  );
  $effect(() => {
    names.known = people.value ?? new Map();
  });
}
