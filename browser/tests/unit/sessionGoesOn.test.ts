/** A session that fails in an unforeseen way says so, and begins anew by itself. */

import { afterEach, expect, test, vi } from "vitest";

import { Offline } from "../../src/core/errors.js";
import { SESSION_CONFIG } from "../../src/core/sessionEvents.js";
import { HOST } from "../../src/replica/host.js";
import { Replica } from "../../src/replica/replica.js";
import type { Status } from "../../src/replica/storage/status.js";
import type { Transport } from "../../src/replica/http/transport.js";
import { openMemory } from "../../src/sqlite/open.js";
import { compiled } from "../support/program.js";

const PROGRAM = compiled({
  name: "goes_on",
  generation: 1,
  tables: [{ name: "thing", key: ["id"], scopes: ["all"], columns: [{ name: "id" }] }],
});

/** A way to a server that is not there; how often it was tried. */
class Nowhere implements Transport {
  tries = 0;

  exchange(): Promise<never> {
    this.tries += 1;
    return Promise.reject(new Offline("nobody is there", "unreachable"));
  }
  verify = (): Promise<never> => this.exchange();
  health = (): Promise<never> => this.exchange();
  program = (): Promise<never> => this.exchange();
  file = (): Promise<never> => this.exchange();
  async *events(): AsyncIterable<never> {
    // None.
  }
  close(): void {
    // Nothing is open.
  }
}

let open: Replica | null = null;
afterEach(async () => {
  await open?.close();
  vi.restoreAllMocks();
});

test("what was not foreseen is told, and what waits is tried again", async () => {
  const printed = vi.spyOn(console, "error").mockImplementation(() => undefined);
  const transport = new Nowhere();
  let failing = 0;
  const host = {
    ...HOST,
    random01: (): number => {
      if (failing > 0) {
        failing -= 1;
        throw new Error("no chance left");
      }
      return 0.5;
    },
  };
  const replica = Replica.open({
    opened: await openMemory(),
    program: PROGRAM,
    transport,
    host,
    session: {
      ...SESSION_CONFIG,
      backoff: { ...SESSION_CONFIG.backoff, baseMs: 2000, capMs: 2000 },
    },
  });
  open = replica;
  const statuses: Status[] = [];
  await replica.watchStatus((status) => statuses.push(status));
  await replica.start();
  await vi.waitFor(() => expect(transport.tries).toBeGreaterThan(0), 20_000);
  failing = 1;
  await replica.transaction(async (tx) => {
    await tx.execute("INSERT INTO thing VALUES ('a')");
  });
  await vi.waitFor(() => {
    const told = statuses.find(({ errorCode }) => errorCode === "internal");
    expect(told?.state).toBe("waiting");
    expect(told?.errorMessage).toContain("no chance left");
  }, 20_000);
  expect(printed).toHaveBeenCalled();
  const before = transport.tries;
  await vi.waitFor(() => expect(transport.tries).toBeGreaterThan(before), 20_000);
  await vi.waitFor(async () => {
    const { errorCode, pending, sent } = await replica.status();
    expect(errorCode).toBe("unreachable");
    expect(pending + sent).toBe(1);
  }, 20_000);
});
