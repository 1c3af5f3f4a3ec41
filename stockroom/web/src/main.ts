/** Where the app starts: theme, service worker, and the first component. */

import "./styles/fonts.css";
import "./styles/tokens.css";
import "./styles/base.css";

import { mount } from "svelte";

import App from "./App.svelte";
import SafeAddress from "./screens/SafeAddress.svelte";
import { lacking } from "./shell/able.js";
// The browser makes its offer early, before any screen could listen.
import { onlyMeantClicks } from "./shell/doubleClicks.js";
import "./shell/install.svelte.js";
import { recallDrafts } from "./shell/keptDrafts.js";
import { applyTheme } from "./shell/theme.js";

applyTheme();
const target = document.getElementById("app");
const lack = await lacking(globalThis);
onlyMeantClicks();
if (lack === null) await recallDrafts();
if (target !== null)
  if (lack === null) mount(App, { target });
  else mount(SafeAddress, { target, props: { lack } });
