/**
 * A worker that stands for leader: one per origin and name has the replica's file, and serves all tabs.
 *
 * Knows: Web Locks, the file, and what pages say. Must not know: what they ask for.
 * Upholds I35: the lock is the browser's, so it ends with its worker however that ends; the file's
 * handles are exclusive as well, so that a leader whose lock was stolen cannot write beside the next.
 *
 * A worker of a newer version of the app asks the leader for its place: that one lets transactions end,
 * lets go of the file and is stolen from, so that no other old one, which waits for the lock as well,
 * comes first. A worker of an older version runs the program that is stored.
 */

import { DatabaseCorrupt, HoldfastError, ReplicaError } from "../core/errors.js";
import { LEADER_BEAT_MS, LEADER_SILENCE_MS, OPFS_WAIT_MS } from "../core/limits.js";
import { SESSION_CONFIG } from "../core/sessionEvents.js";
import { HOST, randomHex } from "../replica/host.js";
import { Replica } from "../replica/replica.js";
import { HttpTransport } from "../replica/http/transport.js";
import type { Salvaged } from "../replica/salvage/salvage.js";
import { missingForOpfs, openOpfs, type Opened, repairOpfs } from "../sqlite/open.js";
import {
  type LeaderCandidate,
  channels,
  errorData,
  generationOf,
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
  /** Its name as a worker, and as a leader while it leads. */
  readonly #id = randomHex(HOST, 8);
  #leader = "";
  #lead: Promise<void> = Promise.resolve();
  /** Whether this worker has had the file open, or could not open it. */
  #hasLed = false;
  #hasFailed = false;
  /** Say that somebody leads, or is about to. */
  #announce: (() => void) | null = null;
  #askedBy: (to: string) => void = () => undefined;

  constructor(candidacy: LeaderCandidate) {
    this.#candidacy = candidacy;
    this.#all = new BroadcastChannel(channels.all(candidacy.name));
    this.#all.onmessage = ({ data }: MessageEvent<News>) => this.#heard(data);
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
        if (!stolen && !this.#hasLed) this.#hasFailed = true;
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

  #heard(news: News): void {
    if (news.type === "who") this.#announce?.();
    else if (news.type === "leader") {
      const { program } = this.#candidacy;
      const isNewer = program !== null && generationOf(program) > news.generation;
      // One that could not open the file, for whatever reason, leaves it to those that can.
      if (isNewer && this.#announce === null && !this.#hasFailed && !this.#resigned.signal.aborted)
        this.#say({ type: "hand_over", leader: news.leader, to: this.#id });
    } else if (news.type === "hand_over") {
      if (news.leader === this.#leader) this.#askedBy(news.to);
    } else if (news.type === "handed_over" && news.to === this.#id) this.stand(true);
  }

  async #leading(stolen: AbortSignal): Promise<void> {
    const { name } = this.#candidacy;
    const leader = randomHex(HOST, 8);
    const electing = (): void => this.#say({ type: "electing" });
    const announce = (): void => this.#announce?.();
    this.#announce = electing;
    announce();
    const over = new Promise<null>((ended) => {
      stolen.addEventListener("abort", () => ended(null));
      this.#resigned.signal.addEventListener("abort", () => ended(null));
      if (stolen.aborted || this.#resigned.signal.aborted) ended(null);
    });
    let next: string | null;
    try {
      // While it is opened, and migrated, nobody may take it for silent, and nobody asks it yet.
      const replica = await this.#open(announce);
      this.#hasLed = true;
      const requests = new BroadcastChannel(channels.leader(name, leader));
      const office = new LeaderRequests(replica, (client, gone) =>
        this.#page(client, gone, stolen),
      );
      requests.onmessage = (event: MessageEvent<Request>) => void office.handle(event.data);
      const asked = new Promise<string>((by) => (this.#askedBy = by));
      const generation = generationOf(replica.program);
      this.#announce = () => this.#say({ type: "leader", leader, generation });
      this.#leader = leader;
      const beat = setInterval(announce, LEADER_BEAT_MS);
      announce();
      try {
        if (this.#candidacy.server !== null) await replica.start();
        next = await Promise.race([over, asked]);
        if (next !== null) await Promise.race([over, office.quiet()]);
      } finally {
        // However it ends: nobody may be told of a leader that there is not, nor find its file held.
        this.#leader = "";
        this.#announce = electing;
        requests.close();
        office.close();
        await replica.close().finally(() => clearInterval(beat));
      }
    } finally {
      this.#announce = null;
    }
    if (next === null || stolen.aborted) return;
    // The lock is kept for that one, or another old worker, which waits for it, would have it first.
    this.#say({ type: "handed_over", to: next });
    await Promise.race([over, sleep(LEADER_SILENCE_MS)]);
  }

  /** Open the file. A damaged one is salvaged, once, or what it holds is told. */
  async #open(onWorking: () => void): Promise<Replica> {
    try {
      return await this.#opened(onWorking);
    } catch (error) {
      if (!(error instanceof DatabaseCorrupt)) throw error;
      const found = await this.#salvage();
      if (!this.#candidacy.salvage) {
        const { report, work } = found;
        throw new DatabaseCorrupt(error.message, { report, work });
      }
    }
    return await this.#opened(onWorking);
  }

  async #opened(onWorking: () => void): Promise<Replica> {
    const opened = await openOpfs(this.#candidacy.name, OPFS_WAIT_MS);
    try {
      return await this.#replicaOf(opened, onWorking);
    } catch (error) {
      opened.close();
      throw error;
    }
  }

  /** Read what a damaged file holds; with leave, a new one takes its place. */
  async #salvage(): Promise<Salvaged> {
    const { name, program, salvage: mayReplace } = this.#candidacy;
    // Hardly anybody ever needs it, and it is not small.
    const { salvage } = await import("../replica/salvage/salvage.js");
    const found: Salvaged[] = [];
    await repairOpfs(name, OPFS_WAIT_MS, async (image) => {
      const made = await salvage(image, program, HOST);
      found.push(made);
      return mayReplace ? made.database : null;
    });
    const [made] = found;
    if (made === undefined) throw new DatabaseCorrupt("the replica could not be read");
    return made;
  }

  async #replicaOf(opened: Opened, onWorking: () => void): Promise<Replica> {
    const { server, token, program, session } = this.#candidacy;
    const transport =
      server === null
        ? null
        : new HttpTransport({ server, token: token === null ? null : () => token, host: HOST });
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
      const code = error instanceof HoldfastError ? error.code : "";
      // A newer version was here, and all its tabs are gone: its program is in the file.
      if (code === "replica_newer") return open(null);
      if (code !== "no_replica" || transport === null) throw error;
    }
    return open(await transport.program());
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
