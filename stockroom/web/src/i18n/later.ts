/**
 * The words that come with the screens which need them: whoever says one of them imports this module, too.
 *
 * Knows: which words those are. Must not know: the screens.
 */

import words from "./enLater.js";
import { add } from "./index.js";

add(words);
