/** A page for tests: the built package as an app gets it, and the golden vectors. */

import * as holdfast from "@holdfast/browser";
import { differing } from "../vectors/answers.js";

Object.assign(globalThis, { holdfast, differing });
