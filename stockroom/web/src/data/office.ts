/**
 * What is asked of the server about the shop itself: its first run, its people, goods from a file.
 *
 * Knows: the calls under `v1/shop`. Must not know: screens. All of it needs a connection; work at a shelf
 * never does.
 */

import { at } from "./base.js";

export class OfficeError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export const ROLES = ["employee", "manager", "owner", "till"] as const;
export type Role = (typeof ROLES)[number];

/** The shop as a page knows it before anybody has signed in. */
export type FirstRun =
  | { readonly set_up: true }
  | { readonly set_up: false; readonly code_needed: boolean; readonly time_zone: string };

export interface SetUp {
  readonly shop: string;
  readonly currency: string;
  readonly language: string;
  readonly time_zone: string;
  readonly store: string;
  readonly owner: string;
  readonly password: string;
  readonly code: string;
}

export interface Member {
  readonly login: string;
  readonly name: string;
  readonly role: Role;
  readonly stores: readonly string[];
  readonly has_password: boolean;
  readonly disabled: boolean;
  readonly devices: number;
  readonly last_seen: number;
}

export interface ShopDevice {
  readonly device: string;
  readonly user: string;
  readonly name: string;
  readonly last_seen: number;
  readonly waiting: number;
  readonly oldest_us: number | null;
  readonly revoked: boolean;
}

export interface Staff {
  readonly stores: readonly { readonly id: string; readonly name: string }[];
  readonly people: readonly Member[];
  readonly devices: readonly ShopDevice[];
}

export interface Invitation {
  readonly login: string;
  readonly code: string;
  readonly expires_at: number;
}

export interface Reason {
  readonly code: string;
  readonly text: string;
  readonly said: Readonly<Record<string, string | number>>;
}

/** Outcome of a file of goods, line by line. */
export interface Brought {
  readonly written: boolean;
  readonly counts: Readonly<Record<"new" | "changed" | "same" | "wrong", number>>;
  readonly ignored: readonly string[];
  readonly lines: readonly {
    readonly line: number;
    readonly came: string;
    readonly sku: string;
    readonly name: string;
    readonly reasons: readonly Reason[];
  }[];
}

const DEADLINE_MS = 60_000;
/** Whoever comes for the first time waits for this answer. */
const FIRST_DEADLINE_MS = 5_000;

export const firstRun = (): Promise<FirstRun> => call("GET", "", undefined, FIRST_DEADLINE_MS);
export const setUp = (shop: SetUp): Promise<unknown> => call("POST", "/setup", shop);
export const staff = (): Promise<Staff> => call("GET", "/people");
export const addMember = (one: {
  readonly name: string;
  readonly role: Role;
  readonly stores: readonly string[];
}): Promise<Member> => call("POST", "/people", one);
export const changeMember = (change: {
  readonly login: string;
  readonly role?: Role;
  readonly stores?: readonly string[];
  readonly disabled?: boolean;
  readonly password?: string;
}): Promise<Member> => call("POST", "/people/change", change);
export const invite = (login: string): Promise<Invitation> =>
  call("POST", "/people/invite", { login });
export const revokeDevice = (device: string): Promise<unknown> =>
  call("POST", "/devices/revoke", { device });
export const bringGoods = (file: File, store: string, write: boolean): Promise<Brought> => {
  const asked = new URLSearchParams({ store, file: file.name, write: write ? "1" : "0" });
  return call("POST", `/goods?${asked.toString()}`, file);
};

async function call<T>(
  method: string,
  path: string,
  body?: object,
  deadlineMs = DEADLINE_MS,
): Promise<T> {
  const isFile = body instanceof Blob;
  let response: Response;
  try {
    response = await fetch(at(`v1/shop${path}`), {
      method,
      headers: {
        "holdfast-token": "cookie",
        ...(body === undefined || isFile ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: isFile ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(deadlineMs),
      redirect: "error",
    });
  } catch {
    throw new OfficeError("unreachable", "");
  }
  let answer: unknown;
  try {
    answer = await response.json();
  } catch {
    throw new OfficeError("not_our_server", "");
  }
  if (response.ok) return answer as T;
  const { error } = answer as { error?: { code?: unknown; message?: unknown } };
  throw new OfficeError(String(error?.code ?? "internal"), String(error?.message ?? ""));
}
