/** A browser that cannot keep work is told what it lacks, before anybody types a password. */

import { expect, test } from "vitest";

import { lacking, type Offers } from "../../src/shell/able.js";

const all: Offers = {
  isSecureContext: true,
  navigator: {
    storage: { getDirectory: () => Promise.resolve({}) },
    locks: {},
    serviceWorker: {},
  },
  BroadcastChannel: () => null,
  Worker: () => null,
  WebAssembly: {},
  crypto: { randomUUID: () => "", subtle: {} },
};

test("a browser that has everything lacks nothing", async () => {
  expect(await lacking(all)).toBeNull();
});

test("without a secure address nothing else is told, as nothing else is offered", async () => {
  expect(await lacking({ isSecureContext: false, navigator: {} })).toBe("address");
});

test.each([
  ["storage", { navigator: { ...all.navigator, storage: undefined } }],
  ["storage", { navigator: { ...all.navigator, storage: {} } }],
  [
    "storage",
    {
      navigator: {
        ...all.navigator,
        storage: { getDirectory: () => Promise.reject(new DOMException("no", "SecurityError")) },
      },
    },
  ],
  ["locks", { navigator: { ...all.navigator, locks: undefined } }],
  ["worker", { navigator: { ...all.navigator, serviceWorker: undefined } }],
  ["worker", { Worker: undefined }],
  ["channels", { BroadcastChannel: undefined }],
  ["crypto", { crypto: { subtle: {} } }],
  ["crypto", { crypto: undefined }],
  ["wasm", { WebAssembly: undefined }],
] as const)("it says %s where that is missing (%#)", async (lack, without) => {
  expect(await lacking({ ...all, ...without })).toBe(lack);
});
