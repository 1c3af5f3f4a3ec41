/**
 * How this browser becomes a device, stays one, and stops being one.
 *
 * Knows: the calls of enrolment. Must not know: how the token looks; the answer puts it into a cookie.
 */

import { at } from "./base.js";
import { recallDevice, remember } from "./replica.js";

export class EnrolError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export interface Credentials {
  readonly user?: string;
  readonly password?: string;
  readonly code?: string;
  /** What people call the device. */
  readonly name: string;
}

interface Answer {
  readonly device: string;
  readonly user: string;
  readonly refresh_at: number;
}

const DEADLINE_MS = 20_000;

/** A new device, or the same one again. Throws `EnrolError`. */
export async function enrol(who: Credentials): Promise<void> {
  const before = await recallDevice();
  const attempt = crypto.randomUUID();
  const body = {
    protocol: 1,
    attempt,
    ...who,
    ...(before === null ? {} : { device: before.device }),
  };
  const answer = await call<Answer>("v1/enrol", body);
  // A server that has lost the device, or is another one, cannot know whose it is.
  if (before !== null && answer.user !== before.user) throw new EnrolError("wrong_device", "");
  await remember({
    replica: before?.replica ?? `stockroom-${attempt.slice(0, 8)}`,
    user: answer.user,
    device: answer.device,
    refreshAt: answer.refresh_at,
  });
}

/** A new token when the old one is in its last part; a failure is tried again later. */
export async function refreshToken(nowUs: number): Promise<void> {
  const one = await recallDevice();
  if (one === null || nowUs < one.refreshAt) return;
  try {
    const answer = await call<Answer>("v1/token", { protocol: 1 });
    await remember({ ...one, refreshAt: answer.refresh_at });
  } catch {
    // Without a connection there is nothing to do; with a bad token the status says so.
  }
}

/** Throws `EnrolError`; a token that is not known any more is no failure. */
export async function signOut(): Promise<void> {
  try {
    await call("v1/sign-out", { protocol: 1 });
  } catch (error) {
    if (!(error instanceof EnrolError) || error.code !== "sign_in") throw error;
  }
}

async function call<T>(path: string, body: object): Promise<T> {
  let response: Response;
  try {
    response = await fetch(at(path), {
      method: "POST",
      headers: { "content-type": "application/json", "holdfast-token": "cookie" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(DEADLINE_MS),
      redirect: "error",
    });
  } catch {
    throw new EnrolError("unreachable", "");
  }
  const text = await response.text();
  if (response.status >= 500) throw new EnrolError("server_trouble", "");
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new EnrolError("not_our_server", "");
  }
  if (response.ok) return answer as T;
  const found = answer as { code?: unknown; message?: unknown; error?: { code?: unknown } };
  throw new EnrolError(
    String(found.code ?? found.error?.code ?? "internal"),
    String(found.message ?? ""),
  );
}
