/**
 * One more client of the app's replica, for the measuring tool: it asks the worker that leads.
 *
 * Knows: the verbs of a tab, and where a worker spends a write. Must not know: screens. It is built
 * for the tool alone and served beside the app.
 */

import {
  type AppRow,
  openReplica,
  type QueryResult,
  type Statement,
  TabReplica,
} from "@holdfast/browser";

let tab: TabReplica | null = null;

const open = async (name: string): Promise<TabReplica> => {
  // Its own worker never stands for election: the app's leads.
  const worker = (): Worker => new Worker("/measure/idle.js", { type: "module" });
  tab ??= await openReplica({ name, server: location.origin, persist: false, worker });
  return tab;
};

export interface Client {
  query(name: string, sql: string, params?: AppRow): Promise<QueryResult>;
  /** Milliseconds of each write, from the call to the durable answer; so long apart. */
  writes(name: string, of: readonly (readonly Statement[])[], gapMs: number): Promise<number[]>;
  /** Milliseconds of each question that touches next to nothing: what asking alone costs. */
  questions(name: string, count: number): Promise<number[]>;
  pause(name: string): Promise<void>;
  resume(name: string): Promise<void>;
}

const client: Client = {
  query: async (name, sql, params = []) => await (await open(name)).query(sql, params),
  writes: async (name, of, gapMs) => {
    const replica = await open(name);
    const took: number[] = [];
    for (const statements of of) {
      if (gapMs > 0) await new Promise((over) => setTimeout(over, gapMs));
      const began = performance.now();
      await replica.write(statements);
      took.push(performance.now() - began);
    }
    return took;
  },
  questions: async (name, count) => {
    const replica = await open(name);
    const took: number[] = [];
    for (let at = 0; at < count; at += 1) {
      const began = performance.now();
      await replica.nowUs();
      took.push(performance.now() - began);
    }
    return took;
  },
  pause: async (name) => await (await open(name)).pause(),
  resume: async (name) => await (await open(name)).resume(),
};

export default client;
