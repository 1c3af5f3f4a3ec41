/**
 * The leader's office: carries out what pages ask of the one replica, and forgets pages that are gone.
 *
 * Knows: the replica's verbs, and who asked. Must not know: how a leader is chosen.
 * A write is carried out under its page's id and number, which the replica remembers in the same
 * commit: a page that asks the next leader again gets the answer, and nothing happens twice.
 * A page that was made for an older schema than the replica's reads, and changes nothing: what it would
 * write was thought of without the columns that it does not know.
 */

import { HoldfastError, ReplicaError, UsageError } from "../core/errors.js";
import type { AppRow, QueryResult } from "../replica/appValues.js";
import type { Resolution } from "../replica/inbox/inbox.js";
import type { Statement, Transaction } from "../replica/changes/localWork.js";
import type { Replica } from "../replica/replica.js";
import { errorData, generationOf, type Reply, type Request } from "./messages.js";

interface OpenTransaction {
  readonly tx: Transaction;
  readonly commit: () => void;
  readonly undo: (error: Error) => void;
  readonly ended: Promise<unknown>;
}

interface Page {
  readonly send: (reply: Reply) => void;
  readonly subscriptions: Map<number, () => void>;
  readonly transactions: Map<number, OpenTransaction>;
  /** Requests under way: one that is asked again meanwhile is answered once. */
  readonly working: Set<number>;
}

export class LeaderRequests {
  readonly #replica: Replica;
  readonly #openPage: (client: string, gone: () => void) => (reply: Reply) => void;
  readonly #pages = new Map<string, Page>();
  /** Ends of the transactions that pages have begun, also of those that wait for their turn. */
  readonly #begun = new Set<Promise<unknown>>();
  #isTaking = true;
  #isClosed = false;

  /** `openPage`: how to answer a page; `gone` is to be called when it has gone. */
  constructor(
    replica: Replica,
    openPage: (client: string, gone: () => void) => (reply: Reply) => void,
  ) {
    this.#replica = replica;
    this.#openPage = openPage;
  }

  async handle(request: Request): Promise<void> {
    const page = this.#page(request.client);
    const { id } = request;
    if (page.working.has(id)) return;
    page.working.add(id);
    let reply: Reply;
    try {
      reply = { type: "answer", id, value: await this.#do(page, request) };
    } catch (error) {
      reply = { type: "error", id, error: errorData(error) };
    } finally {
      page.working.delete(id);
    }
    // Of one that has closed, an error says nothing: the next leader is asked again.
    if (!this.#isClosed) page.send(reply);
  }

  /** Begin no more transactions (who asks for one asks the next leader again), and wait for those that
   * have begun. */
  async quiet(): Promise<void> {
    this.#isTaking = false;
    await Promise.allSettled(this.#begun);
  }

  /** Nobody is answered any more; what pages have left open is undone. */
  close(): void {
    this.#isClosed = true;
    for (const client of [...this.#pages.keys()]) this.#forget(client);
  }

  #page(client: string): Page {
    const known = this.#pages.get(client);
    if (known !== undefined) return known;
    const page: Page = {
      send: this.#openPage(client, () => this.#forget(client)),
      subscriptions: new Map(),
      transactions: new Map(),
      working: new Set(),
    };
    this.#pages.set(client, page);
    return page;
  }

  #forget(client: string): void {
    const page = this.#pages.get(client);
    this.#pages.delete(client);
    for (const end of page?.subscriptions.values() ?? []) end();
    for (const open of page?.transactions.values() ?? [])
      open.undo(new ReplicaError("the page has gone", "page_gone"));
  }

  async #do(page: Page, { client, id, method, args, generation }: Request): Promise<unknown> {
    const replica = this.#replica;
    const once = `${client}:${id}`;
    switch (method) {
      case "query":
        return await replica.query(args[0] as string, args[1] as AppRow);
      case "write":
        await this.#mayWrite(generation, once);
        return await replica.write(args[0] as Statement[], once);
      case "resolve":
        return await replica.resolve(args[0] as string, args[1] as Resolution, once);
      case "retry":
        return await replica.retry(args[0] as string, once);
      case "discard":
        return await replica.discard(args[0] as string, once);
      case "ifDiscarded":
        return await replica.ifDiscarded(args[0] as string);
      case "subscribe":
        return await this.#subscribe(page, args[0] as number, args[1] as string, args[2] as AppRow);
      case "watchStatus":
        return await this.#watch(page, args[0] as number);
      case "unsubscribe":
        page.subscriptions.get(args[0] as number)?.();
        return void page.subscriptions.delete(args[0] as number);
      case "begin":
        await this.#mayWrite(generation, once);
        return await this.#begin(page, id, once);
      case "execute":
        return await this.#open(page, args[0]).tx.execute(args[1] as string, args[2] as AppRow);
      case "commit":
        return await this.#commit(page, client, args[0] as number);
      case "undo":
        return this.#undo(page, args[0] as number);
      case "status":
        return await replica.status();
      case "rowStatus":
        return await replica.rowStatus(args[0] as string, args[1] as string);
      case "acceptServer":
        return await replica.acceptServer();
      case "history":
        return await replica.history();
      case "conflicts":
        return await replica.conflicts();
      case "refused":
        return await replica.refused();
      case "nowUs":
        return await replica.nowUs();
      case "sync":
        return await replica.sync();
      case "verify":
        return await replica.verify(args[0] as boolean);
      case "export":
        return await replica.export();
      case "syncNow":
      case "pause":
      case "resume":
        return await replica[method]();
      case "hint":
      case "signedIn":
        return replica[method]();
      case "setPersisted":
        return replica.setPersisted(args[0] as boolean);
      default:
        throw new UsageError(`the leader knows nothing of ${method}`, "unknown_method");
    }
  }

  /** Throws `ReplicaError` (`replica_newer`) for a page of an older version; what it had carried out
   * before is answered. */
  async #mayWrite(generation: number | null, once: string): Promise<void> {
    if (generation === null || generation >= generationOf(this.#replica.program)) return;
    if (await this.#replica.wasDone(once)) return;
    throw new ReplicaError(
      "this page is of an older version of the app than what is stored: load it again; " +
        "nothing was changed",
      "replica_newer",
    );
  }

  async #subscribe(page: Page, subscription: number, sql: string, params: AppRow): Promise<void> {
    if (page.subscriptions.has(subscription)) return;
    const told = (value: QueryResult): void => page.send({ type: "told", subscription, value });
    this.#keep(page, subscription, await this.#replica.subscribe(sql, params, told));
  }

  async #watch(page: Page, subscription: number): Promise<void> {
    if (page.subscriptions.has(subscription)) return;
    const end = await this.#replica.watchStatus((value) =>
      page.send({ type: "told", subscription, value }),
    );
    this.#keep(page, subscription, end);
  }

  #keep(page: Page, subscription: number, end: () => void): void {
    if ([...this.#pages.values()].includes(page)) page.subscriptions.set(subscription, end);
    else end(); // the page went away meanwhile
  }

  // --- transactions that ask and decide in between -------------------------------------------------

  /** The request's number names the transaction, and in `once` its commit. */
  async #begin(page: Page, number: number, once: string): Promise<number> {
    if (!this.#isTaking) return await new Promise<never>(() => undefined);
    await new Promise<void>((begun, failed) => {
      const ended = this.#replica.transaction((tx) => {
        const decided = new Promise<void>((commit, undo) => {
          page.transactions.set(number, { tx, commit, undo, ended });
        });
        begun();
        return decided;
      }, once);
      this.#begun.add(ended);
      const over = (): void => {
        page.transactions.delete(number);
        this.#begun.delete(ended);
      };
      ended.catch(failed).finally(over);
    });
    return number;
  }

  #open(page: Page, number: unknown): OpenTransaction {
    const open = page.transactions.get(number as number);
    if (open === undefined) throw new UsageError("the transaction has ended", "transaction_ended");
    return open;
  }

  async #commit(page: Page, client: string, number: number): Promise<void> {
    const open = page.transactions.get(number);
    if (open !== undefined) {
      open.commit();
      await open.ended;
    } else if (!(await this.#replica.wasDone(`${client}:${number}`))) {
      throw new ReplicaError("the leader was lost; nothing was changed", "leader_lost");
    }
  }

  #undo(page: Page, number: number): void {
    page.transactions.get(number)?.undo(new HoldfastError("undone", "undone"));
  }
}
