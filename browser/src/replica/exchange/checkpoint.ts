/**
 * What a replica says of itself in a request: the positions it holds, and what waits on it.
 *
 * Knows: the replica's tables. Must not know: when an exchange is made, or what comes of it.
 */

import type { ExchangeRequest, Position, Report } from "../../protocol/messages.generated.js";
import { whole } from "../../sqlite/connection.js";
import type { LocalDatabase } from "../storage/database.js";
import { readWaiting } from "../storage/waiting.js";

/** What the server is told of this program. */
const CLIENT = "holdfast-browser 0.1.0";

/** Return what the server is told of this device: what waits behind what goes up now. */
export function reportOf(database: LocalDatabase): Report {
  const { pending, oldestPending } = readWaiting(database);
  return {
    waiting: pending,
    ...(oldestPending === null ? {} : { oldest: oldestPending }),
    client: CLIENT,
  };
}

/** Return who asks: which replica of which device, what it has come out of, and in which epoch it synced. */
export function identityOf(
  database: LocalDatabase,
): Pick<ExchangeRequest, "device" | "replica" | "origin" | "epoch"> {
  const [device = "", replica = "", origin = "", epoch = ""] = database.texts(
    "device",
    "replica",
    "origin",
    "epoch",
  );
  const [last] = database.state("origin_last");
  return {
    device,
    replica,
    ...(origin === "" ? {} : { origin: { replica: origin, last: whole(last) } }),
    epoch,
  };
}

/** Scopes that differed after the last answer: it was counted then, or expected. */
export function differing(database: LocalDatabase): Set<string> {
  const found = database.connection.execute(database.bookkeeping.scopes.differing);
  return new Set(found.map(([scope]) => String(scope)));
}

/** The scope versions this replica has applied whole, with the server's seals on them. */
export function checkpointOf(database: LocalDatabase): Record<string, Position> {
  return Object.fromEntries(
    database.connection
      .execute(database.bookkeeping.scopes.positions)
      .map(([scope, version, count, digest, seal_]) => [
        String(scope),
        {
          version: whole(version),
          count: whole(count),
          digest: String(digest),
          seal: String(seal_),
        },
      ]),
  );
}
