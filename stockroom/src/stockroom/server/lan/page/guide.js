// Opens the steps for this device, and looks whether it trusts the shop by now: a request by https
// that is answered has been trusted. Without this script the page is the same, but for that.

const LOOK_MS = 3000;
const kinds = [
  ["iphone", /iPhone|iPad|iPod/],
  ["android", /Android/],
  ["firefox", /Firefox/],
  ["windows", /Windows/],
  ["mac", /Macintosh/],
  ["linux", /Linux|CrOS/],
];
const found = kinds.find(([, agent]) => agent.test(navigator.userAgent));
const kind = found === undefined ? "" : found[0];
// An iPad calls itself a Mac, and no Mac can be touched.
const isPad = kind === "mac" && navigator.maxTouchPoints > 1;
const mine = document.getElementById(isPad ? "iphone" : kind);
if (mine !== null) {
  mine.open = true;
  mine.parentElement.prepend(mine);
}

const state = document.getElementById("state");
const open = document.getElementById("open");
const probes = document.body.dataset.probes.split(" ").filter((url) => url !== "");

async function trusted(url) {
  try {
    const signal = AbortSignal.timeout(LOOK_MS);
    return (await fetch(`${url}/trust/ok`, { cache: "no-store", signal })).ok;
  } catch {
    return false;
  }
}

async function look() {
  const answers = await Promise.all(probes.map(trusted));
  const first = answers.indexOf(true);
  state.hidden = false;
  if (first < 0) {
    state.textContent = "This device does not trust your shop yet. This page notices when it does.";
    setTimeout(look, LOOK_MS);
    return;
  }
  state.textContent = "This device trusts your shop. Open Stockroom by the button above.";
  state.classList.add("good");
  open.href = probes[first];
  open.textContent = `Open ${probes[first]}`;
}

if (probes.length > 0 && open !== null) void look();
