/**
 * What is measured, each as a list of milliseconds.
 *
 * Knows: the screens as a person uses them. Must not know: how figures are shown.
 */

const ROW_PX = 68;
const KEY_GAP_MS = 5;
/** As people type: beginnings, several words in any order, the middle of a word, slips, a SKU. */
export const TERMS = {
  beginning: ["enamel", "stone", "wren"],
  words: ["mug cream", "kingfisher pot", "apron long denim"],
  middle: ["amel", "ngfish", "otebo"],
  slip: ["enmael", "kingfihser", "stonewear"],
  SKU: ["MUG-10", "NTB-10"],
  barcode: ["200000054"],
};

/** A promise that is awaited later: if something fails before that, it is that which is told. */
function later(promise) {
  promise.catch(() => undefined);
  return promise;
}

/** Works in one page of the app. */
export class Steps {
  constructor(page) {
    this.page = page;
  }

  /** Ask this tool's own client of the replica, which is served beside the app. */
  ask(verb, ...args) {
    return this.page.evaluate(
      async ([name, given]) => {
        const { default: client } = await import("/measure/client.js");
        return await client[name](...given);
      },
      [verb, args],
    );
  }

  async rows(sql, params = []) {
    return (await this.ask("query", sql, params)).rows;
  }

  to(where) {
    return this.page.evaluate((hash) => void (location.hash = hash), `#/${where}`);
  }

  async toList() {
    await this.to("stock");
    await this.page.locator("[data-shown] li").first().waitFor();
  }

  /** From each keystroke to the painted answer; the next key waits for it. */
  async keystrokes(term) {
    const search = this.page.getByRole("searchbox");
    await search.fill("");
    await search.focus();
    const took = [];
    for (let at = 1; at <= term.length; at += 1) {
      const answer = later(
        this.page.evaluate((typed) => measuring.searched(typed), term.slice(0, at).trim()),
      );
      await this.page.keyboard.press(term[at - 1] === " " ? "Space" : term[at - 1]);
      if (term[at - 1] === " ") await answer;
      else took.push(await answer);
    }
    return { took, results: await this.page.evaluate(() => measuring.results()) };
  }

  /** All keys of a term 60 ms apart, whether there is an answer or not; from the last to its answer. */
  async typing(term) {
    const search = this.page.getByRole("searchbox");
    await search.fill("");
    await search.focus();
    const answer = later(this.page.evaluate((typed) => measuring.searched(typed), term.trim()));
    await this.page.keyboard.type(term, { delay: 60 });
    return await answer;
  }

  /** A hand scanner in the list: from its last key to the painted sheet. */
  async scan(code, product) {
    await this.toList();
    const answer = later(this.page.evaluate((id) => measuring.scanned(id), product));
    const keyboard = await this.page.context().newCDPSession(this.page);
    let seconds = Date.now() / 1000;
    for (const key of [...code, "Enter"]) {
      const text = key === "Enter" ? "\r" : key;
      for (const type of ["keyDown", "keyUp"]) {
        seconds += KEY_GAP_MS / 1000;
        await keyboard.send("Input.dispatchKeyEvent", { type, key, text, timestamp: seconds });
      }
    }
    await keyboard.detach();
    return await answer;
  }

  /** From the list to the painted sheet of a product, its ledger included. */
  async sheet(product) {
    await this.toList();
    return await this.page.evaluate((id) => measuring.opened(id), product);
  }

  /** The list jumps to a place: until the rows there are painted. */
  async jump(index) {
    return await this.page.evaluate(([at, px]) => measuring.jumped(at, px), [index, ROW_PX]);
  }

  /** What the worker asks of its files from here on, until the answer is called. */
  async storage() {
    const workers = this.page.workers();
    const plant = () => {
      const calls = { reads: 0, writes: 0, bytes: 0, flushes: 0, writeMs: 0, flushMs: 0 };
      const { read, write, flush } = FileSystemSyncAccessHandle.prototype;
      const timed = (name, run) => {
        const began = performance.now();
        try {
          return run();
        } finally {
          calls[name] += performance.now() - began;
        }
      };
      Object.assign(FileSystemSyncAccessHandle.prototype, {
        read(...given) {
          calls.reads += 1;
          return read.apply(this, given);
        },
        write(...given) {
          calls.writes += 1;
          calls.bytes += given[0].byteLength;
          return timed("writeMs", () => write.apply(this, given));
        },
        flush() {
          calls.flushes += 1;
          return timed("flushMs", () => flush.apply(this));
        },
      });
      globalThis.storageCalls = () => {
        Object.assign(FileSystemSyncAccessHandle.prototype, { read, write, flush });
        return calls;
      };
    };
    await Promise.all(workers.map((worker) => worker.evaluate(plant)));
    return async () => {
      const all = await Promise.all(workers.map((one) => one.evaluate(() => storageCalls())));
      return all.reduce((left, right) =>
        Object.fromEntries(
          Object.entries(left).map(([name, value]) => [name, value + right[name]]),
        ),
      );
    };
  }

  /** As a person: the form of an adjustment, from the click to the painted "saved on this device". */
  async adjusted(product) {
    const { page } = this;
    await this.to(`product/${product}/adjust`);
    // The word of the one before, if it is still there, would be taken for this one's.
    const close = page.getByRole("button", { name: "Close" });
    if (await close.isVisible()) await close.click();
    await page.getByText("saved on this device").waitFor({ state: "detached" });
    await page.getByRole("button", { name: "+1" }).click();
    await page.getByRole("radio").first().check();
    const answer = later(page.evaluate(() => measuring.saved("saved on this device")));
    await page.getByRole("button", { name: /^Record/ }).click();
    return await answer;
  }
}

const MOVEMENT =
  "INSERT INTO movement (id, product_id, location_id, store_id, quantity, kind, person, device, " +
  "occurred_at) SELECT ?, product_id, location_id, store_id, ?, 'correction', 'ada', 'measure', ? " +
  "FROM movement WHERE id = ?";

/** As the app makes them: they sort by time. */
function uuid7(nowMs) {
  const time = nowMs.toString(16).padStart(12, "0");
  const rest = crypto.randomUUID().slice(14);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${rest.slice(1)}`;
}

/** Adjustments as the app writes them, one movement each. `like`: movements to take the place of. */
export function adjustments(like) {
  const nowUs = Date.now() * 1000;
  return like.map((id, at) => [
    { sql: MOVEMENT, params: [uuid7(Date.now() + at), at % 2 === 0 ? 1 : -1, nowUs + at, id] },
  ]);
}
