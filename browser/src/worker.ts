/** The dedicated worker of a page: it waits to lead, and then has the replica's file. */

import { serve } from "./tabs/leader.js";

serve(globalThis);
