/**
 * What the server has heard of this device: told anew only when it has changed.
 *
 * Knows: the last report, and the moment that was stored with the answer to it. Must not know: when it
 * is sent. What is sent and perhaps not heard counts for nothing; and where another moment is stored
 * than ours, another leader may have told something else since.
 */

import type { Report } from "../../protocol/messages.generated.js";

interface Heard {
  readonly report: string;
  readonly storedUs: number;
}

export class ReportMemory {
  #heard: Heard | null = null;

  /** The report, unless it is what the server has heard last. `storedUs`: when client and server
   * compared equal last, as it is stored now. */
  untold(report: Report, storedUs: number | null): Report | null {
    if (this.#heard?.storedUs === storedUs && this.#heard.report === JSON.stringify(report))
      return null;
    this.#heard = null;
    return report;
  }

  /** Another server is told anew. */
  forget(): void {
    this.#heard = null;
  }

  /** An answer was stored: the server knows what it was told with its request, or before. */
  heard(report: Report | undefined, storedUs: number | null): void {
    const known = report === undefined ? this.#heard?.report : JSON.stringify(report);
    this.#heard = known === undefined || storedUs === null ? null : { report: known, storedUs };
  }
}
