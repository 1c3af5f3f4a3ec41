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

import { recallDevice } from "../../src/data/replica.js";

let tab: TabReplica | null = null;

const open = async (): Promise<TabReplica> => {
  const device = await recallDevice();
  if (device === null) throw new Error("this browser is no device yet");
  // Its own worker never stands for election: the app's leads.
  const worker = (): Worker => new Worker("/measure/idle.js", { type: "module" });
  tab ??= await openReplica({
    name: device.replica,
    server: location.origin,
    persist: false,
    worker,
  });
  return tab;
};

export interface Client {
  query(sql: string, params?: AppRow): Promise<QueryResult>;
  /** Milliseconds of each write, from the call to the durable answer; so long apart. */
  writes(of: readonly (readonly Statement[])[], gapMs: number): Promise<number[]>;
  /** Milliseconds of each question that touches next to nothing: what asking alone costs. */
  questions(count: number): Promise<number[]>;
  pause(): Promise<void>;
  resume(): Promise<void>;
}

const client: Client = {
  query: async (sql, params = []) => await (await open()).query(sql, params),
  writes: async (of, gapMs) => {
    const replica = await open();
    const took: number[] = [];
    for (const statements of of) {
      if (gapMs > 0) await new Promise((over) => setTimeout(over, gapMs));
      const began = performance.now();
      await replica.write(statements);
      took.push(performance.now() - began);
    }
    return took;
  },
  questions: async (count) => {
    const replica = await open();
    const took: number[] = [];
    for (let at = 0; at < count; at += 1) {
      const began = performance.now();
      await replica.nowUs();
      took.push(performance.now() - began);
    }
    return took;
  },
  pause: async () => await (await open()).pause(),
  resume: async () => await (await open()).resume(),
};

export default client;
