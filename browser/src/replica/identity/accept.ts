/**
 * A person says that another server is the one from now on: the replica begins anew with it.
 *
 * Knows: the state row, scopes, and what is to be offered again. Must not know: how an exchange is made,
 * or whether the server is another one indeed. In one local transaction the replica takes another
 * identity, and forgets what only the server before could understand. Rows stay until they are compared
 * with the new server's; kept and unsettled work is offered. Upholds I4, I32.
 */

import { UsageError } from "../../core/errors.js";
import { seal } from "../changes/seal.js";
import { type Host, randomHex } from "../host.js";
import type { LocalDatabase } from "../storage/database.js";
import { NAME_BYTES } from "./fork.js";
import { addEvent } from "./history.js";
import { offerKept } from "./kept.js";

/** Begin anew with another server, in a write transaction of the caller's. Throws `UsageError`
 * (`no_server`). */
export function accept(database: LocalDatabase, host: Host): void {
  const isKnown = database.texts("replica", "device").some((name) => name !== "");
  if (!isKnown)
    throw new UsageError(
      "this replica has not synced with any server yet: it takes the next one as it is",
      "no_server",
    );
  seal(database, host);
  const { connection, bookkeeping } = database;
  const [verified] = database.state("verified_us");
  connection.execute(bookkeeping.identity.fork, [randomHex(host, NAME_BYTES)]);
  database.writeState({ epoch: "", forks: 1n });
  offerKept(database);
  addEvent(database, host, "accepted_server", verified ?? null);
  connection.execute(bookkeeping.identity.forget_server);
  connection.execute(bookkeeping.identity.forget_checkpoint);
  connection.execute(bookkeeping.identity.forget_revisions);
}
