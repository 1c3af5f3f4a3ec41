/** The English words of screens that the first one does not need, by key: fetched with them. */

import deliveries from "./enDeliveries.js";
import device from "./enDevice.js";
import goods from "./enGoods.js";
import history from "./enHistory.js";
import needs from "./enNeeds.js";
import scan from "./enScan.js";
import shop from "./enShop.js";

export default {
  ...deliveries,
  ...device,
  ...goods,
  ...history,
  ...needs,
  ...scan,
  ...shop,
} as const;
