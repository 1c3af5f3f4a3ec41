/**
 * A worker that stands for leader: one per origin and name has the replica's file, and serves all tabs.
 *
 * Knows: Web Locks, the file, and what pages say. Must not know: what they ask for.
 * Upholds I35: the lock is the browser's, so it ends with its worker however that ends; the file's
 * handles are exclusive as well, so that a leader whose lock was stolen cannot write beside the next.
 */

import { HoldfastError, ReplicaError } from "../core/errors.js";
import { LEADER_BEAT_MS, OPFS_WAIT_MS } from "../core/limits.js";
import { SESSION_CONFIG } from "../core/sessionEvents.js";
import { HOST, randomHex } from "../replica/host.js";
import { Replica } from "../replica/replica.js";
import { HttpTransport } from "../replica/http/transport.js";
import { missingForOpfs, openOpfs } from "../sqlite/open.js";
import {
  type LeaderCandidate,
  channels,
  errorData,
  locks,
  type News,
  type Order,
  type Reply,
  type Request,
} from "./messages.js";
import { LeaderRequests } from "./leaderRequests.js";

export class Candidate {
  readonly #candidacy: LeaderCandidate;
  readonly #all: BroadcastChannel;
  readonly #resigned = new AbortController();
  #lead: Promise<void> = Promise.resolve();
  /** Whether this worker has had the file open. */
  #hasLed = false;

  constructor(candidacy: LeaderCandidate) {
    this.#candidacy = candidacy;
    this.#all = new BroadcastChannel(channels.all(candidacy.name));
  }

  /** Wait for the lock, and lead until it is stolen or this worker resigns. */
  stand(steal: boolean): void {
    const { name } = this.#candidacy;
    const missing = missingForOpfs();
    if (missing !== null) {
      const words = `this browser cannot keep data safely: it lacks ${missing}`;
      this.#say({ type: "failed", error: errorData(new ReplicaError(words, "no_opfs")) });
      return;
    }
    const options: LockOptions = steal ? { steal: true } : { signal: this.#resigned.signal };
    if (steal) this.#say({ type: "electing" });
    const ended = new AbortController();
    navigator.locks
      .request(locks.leader(name), options, () => {
        // Who steals from itself, for it was too busy to be heard, lets go of the file first.
        const before = this.#lead.catch(() => undefined);
        this.#lead = before.then(() => this.#leading(ended.signal));
        return this.#lead;
      })
      .catch((error: unknown) => {
        // Stolen, or given up while waiting: the file must be let go before anything else.
        ended.abort();
        const stolen = error instanceof DOMException && error.name === "AbortError";
        if (!stolen) this.#say({ type: "failed", error: errorData(error) });
        if (this.#resigned.signal.aborted) return;
        // One that failed while it led stands again, after a moment; one that could not begin has said why.
        if (stolen || this.#hasLed)
          void this.#lead
            .catch(() => undefined)
            .then(() => sleep(stolen ? 0 : LEADER_BEAT_MS))
            .then(() => this.stand(false));
      });
  }

  resign(): void {
    this.#resigned.abort();
  }

  #say(news: News): void {
    this.#all.postMessage(news);
  }

  async #leading(stolen: AbortSignal): Promise<void> {
    const { name } = this.#candidacy;
    const leader = randomHex(HOST, 8);
    this.#say({ type: "electing" });
    const announce = (): void => this.#say({ type: "leader", leader });
    const replica = await this.#open(announce);
    this.#hasLed = true;
    const requests = new BroadcastChannel(channels.leader(name, leader));
    const office = new LeaderRequests(replica, (client, gone) => this.#page(client, gone, stolen));
    requests.onmessage = (event: MessageEvent<Request>) => void office.handle(event.data);
    this.#all.onmessage = (event: MessageEvent<News>) => {
      if (event.data.type === "who") announce();
    };
    const beat = setInterval(announce, LEADER_BEAT_MS);
    announce();
    try {
      if (this.#candidacy.server !== null) await replica.start();
      await new Promise<void>((over) => {
        stolen.addEventListener("abort", () => over());
        this.#resigned.signal.addEventListener("abort", () => over());
        if (stolen.aborted || this.#resigned.signal.aborted) over();
      });
    } finally {
      // However it ends: nobody may be told of a leader that there is not, nor find its file held.
      clearInterval(beat);
      this.#all.onmessage = null;
      requests.close();
      office.close();
      await replica.close();
    }
  }

  async #open(onWorking: () => void): Promise<Replica> {
    const { name, server, token, program, session } = this.#candidacy;
    const transport =
      server === null
        ? null
        : new HttpTransport({ server, token: token === null ? null : () => token, host: HOST });
    const opened = await openOpfs(name, OPFS_WAIT_MS);
    const open = (wanted: typeof program): Replica =>
      Replica.open({
        opened,
        program: wanted,
        transport,
        server: server ?? "",
        session: session ?? SESSION_CONFIG,
        onWorking,
      });
    try {
      return open(program);
    } catch (error) {
      const fresh = error instanceof HoldfastError && error.code === "no_replica";
      if (!fresh || transport === null) {
        opened.close();
        throw error;
      }
    }
    try {
      return open(await transport.program());
    } catch (error) {
      opened.close();
      throw error;
    }
  }

  /** How to answer a page, for as long as it lives: it holds a lock that says so. */
  #page(client: string, gone: () => void, stolen: AbortSignal): (reply: Reply) => void {
    const { name } = this.#candidacy;
    const channel = new BroadcastChannel(channels.client(name, client));
    const signal = AbortSignal.any([stolen, this.#resigned.signal]);
    navigator.locks
      .request(locks.client(name, client), { signal }, () => gone())
      .catch(() => undefined)
      .finally(() => channel.close());
    return (reply) => channel.postMessage(reply);
  }
}

const sleep = (ms: number): Promise<void> => new Promise((over) => setTimeout(over, ms));

/** The worker's entry: obeys its page. */
export function serve(scope: { onmessage: ((event: MessageEvent<Order>) => void) | null }): void {
  let candidate: Candidate | null = null;
  scope.onmessage = ({ data: order }) => {
    if (order.type === "stand") {
      candidate ??= new Candidate(order.candidacy);
      candidate.stand(false);
    } else if (order.type === "steal") candidate?.stand(true);
    else candidate?.resign();
  };
}
