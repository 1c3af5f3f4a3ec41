/**
 * The generations of a device's and a server's schema: who of the two has to be updated.
 *
 * Knows: what a refusal says of the server's schema. Must not know: requests, or how it is shown.
 * A refusal names the server's schema. Which of both sides is older follows from its generation, and
 * with it whether time ends this (`server_older`), an update of this program (`upgrade_needed`), or only
 * a person who finds out what is wrong (`schema_mismatch`).
 */

import { SyncError, UpgradeNeeded } from "../errors.js";

/** What a refusal says of the server's schema. */
function told(error: SyncError): Readonly<Record<string, unknown>> {
  const server: unknown = error.detail["server"];
  return typeof server === "object" && server !== null ? (server as Record<string, unknown>) : {};
}

/** The generation of the server's schema, where a refusal says it; else null. */
export function serverGeneration(error: unknown): number | null {
  if (!(error instanceof SyncError)) return null;
  const found = told(error)["generation"];
  return typeof found === "number" && Number.isSafeInteger(found) ? found : null;
}

/** The refusal of a schema as it concerns a device with this one; anything else as it is. */
export function toldApart(error: unknown, name: string, generation: number): unknown {
  const theirs = serverGeneration(error);
  if (!(error instanceof SyncError) || error.code !== "schema_mismatch") return error;
  if (theirs === null || theirs === generation || (told(error)["name"] ?? name) !== name)
    return error;
  const both = `the server has generation ${theirs} of the schema, this device ${generation}`;
  return theirs < generation
    ? new UpgradeNeeded(
        `${both}: the server has to be updated first`,
        "server_older",
        null,
        error.detail,
      )
    : new UpgradeNeeded(`${both}, which it does not serve`, "upgrade_needed", null, error.detail);
}
