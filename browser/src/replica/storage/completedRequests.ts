/**
 * Requests that have been carried out, with their answers, so that none is carried out twice.
 *
 * Knows: ids of requests, in the replica's file. Must not know: who asked, or what was done. Upholds of
 * I35 that a write which is asked again happens once: its id is stored in the commit of the write.
 */

import { COMPLETED_FORGOTTEN_EVERY_US, COMPLETED_KEPT_US } from "../../core/limits.js";
import type { LocalDatabase } from "./database.js";
import { type QueryResult, resultFromJson, resultToJson } from "../appValues.js";
import type { Host } from "../host.js";

export class CompletedRequests {
  readonly #database: LocalDatabase;
  readonly #host: Host;
  #forgotAtUs = 0;

  constructor(database: LocalDatabase, host: Host) {
    this.#database = database;
    this.#host = host;
  }

  /** Return what was answered to the request with this id; null when it has not been carried out. */
  answered(once: string): QueryResult[] | null {
    const [row] = this.#database.connection.execute(
      "SELECT answer FROM holdfast_request WHERE id = ?",
      [once],
    );
    return row === undefined ? null : resultFromJson(String(row[0]));
  }

  /** Remember one, in the transaction in which it is carried out. */
  note(once: string, answer: readonly QueryResult[]): void {
    const nowUs = this.#host.nowUs();
    const { connection } = this.#database;
    // Now and then: it reads them all.
    if (Math.abs(nowUs - this.#forgotAtUs) > COMPLETED_FORGOTTEN_EVERY_US) {
      this.#forgotAtUs = nowUs;
      connection.execute("DELETE FROM holdfast_request WHERE at < ?", [
        BigInt(nowUs - COMPLETED_KEPT_US),
      ]);
    }
    connection.execute("INSERT INTO holdfast_request (id, at, answer) VALUES (?, ?, ?)", [
      once,
      BigInt(nowUs),
      resultToJson(answer),
    ]);
  }
}
