/** Made by `make protocol` from Stockroom's Python; do not edit. */

export const QUANTITY_MAX = 1_000_000_000;
export const PACK_MAX = 100_000;
export const PRICE_MAX = 1_000_000_000_000;
export const ID_NAMESPACE = "6f1c1d3a9d0e5d558a385e2f7a0c9b41";

/** Why stock moved. */
export const KINDS = [
  "receive",
  "sale",
  "use",
  "waste",
  "damage",
  "theft",
  "found",
  "customer_return",
  "supplier_return",
  "transfer_out",
  "transfer_in",
  "opening",
  "reversal",
  "correction",
] as const;

/** The columns of a product that a person edits. */
export const EDITABLE = [
  "sku",
  "name",
  "description",
  "shelf",
  "notes",
  "price",
  "cost",
  "currency",
  "unit",
  "archived",
  "unpriced",
] as const;

/** What a shop decides about for each role; what employees may until it does. */
export const DEEDS = [
  "add",
  "word",
  "receive",
  "sell",
  "adjust",
  "undo",
  "price",
  "archive",
  "code",
  "supplier",
  "store",
] as const;
export const DEEDS_OF_EMPLOYEES = ["add", "word", "receive", "sell", "adjust", "undo"] as const;

/**
 * Every synced table: its key, its columns with their types, and those that name a row elsewhere.
 * `?`: the column may be NULL; `=`: it has a default.
 */
export const TABLES = {
  store: {
    key: ["id"],
    columns: {
      id: "text",
      name: "text=",
    },
    refers: {},
  },
  location: {
    key: ["id"],
    columns: {
      id: "uuid",
      store_id: "text",
      name: "text=",
      archived: "boolean=",
    },
    refers: { store_id: "store" },
  },
  supplier: {
    key: ["id"],
    columns: {
      id: "uuid",
      name: "text",
      contact: "text=",
      notes: "text=",
    },
    refers: {},
  },
  category: {
    key: ["id"],
    columns: {
      id: "uuid",
      name: "text",
    },
    refers: {},
  },
  product: {
    key: ["id"],
    columns: {
      id: "uuid",
      sku: "text",
      name: "text",
      description: "text=",
      shelf: "text=",
      notes: "text=",
      price: "integer=",
      cost: "integer?",
      currency: "text=",
      unit: "text=",
      archived: "boolean=",
      supplier_id: "uuid?",
      category_id: "uuid?",
      unpriced: "boolean=",
      merged_into: "uuid?",
    },
    refers: { supplier_id: "supplier", category_id: "category" },
  },
  barcode: {
    key: ["code"],
    columns: {
      code: "text",
      product_id: "uuid",
      pack: "integer=",
    },
    refers: { product_id: "product" },
  },
  reorder_rule: {
    key: ["store_id", "product_id"],
    columns: {
      store_id: "text",
      product_id: "uuid",
      reorder_at: "integer=",
      order_up_to: "integer=",
    },
    refers: { product_id: "product" },
  },
  movement: {
    key: ["id"],
    columns: {
      id: "uuid",
      product_id: "uuid",
      location_id: "uuid",
      store_id: "text",
      quantity: "integer",
      kind: "text",
      reason: "text=",
      document: "text=",
      person: "text=",
      device: "text=",
      occurred_at: "timestamp",
      note: "text=",
      reverses: "uuid?",
      delivery_id: "uuid?",
    },
    refers: { product_id: "product", location_id: "location" },
  },
  question: {
    key: ["id"],
    columns: {
      id: "uuid",
      store_id: "text",
      kind: "text",
      about_table: "text",
      about_key: "text",
      text: "text=",
      asked_at: "timestamp",
      answer: "text?",
      answered_by: "text=",
      in_question: "integer=",
      other_key: "text=",
      decided: "text=",
      decided_by: "text=",
      decided_at: "timestamp?",
    },
    refers: {},
  },
  employee: {
    key: ["id"],
    columns: {
      id: "uuid",
      name: "text",
      role: "text=",
      archived: "boolean=",
    },
    refers: {},
  },
  shop: {
    key: ["id"],
    columns: {
      id: "text",
      name: "text",
      currency: "text=",
      language: "text=",
      time_zone: "text=",
    },
    refers: {},
  },
  person: {
    key: ["login"],
    columns: {
      login: "text",
      name: "text",
      role: "text=",
    },
    refers: {},
  },
  delivery: {
    key: ["id"],
    columns: {
      id: "uuid",
      store_id: "text",
      supplier_id: "uuid?",
      document: "text=",
      status: "text=",
      started_by: "text=",
      started_on: "text=",
      started_at: "timestamp",
      booked_by: "text=",
      booked_on: "text=",
      booked_at: "timestamp?",
      undone_by: "text=",
      undone_at: "timestamp?",
    },
    refers: { supplier_id: "supplier" },
  },
  delivery_line: {
    key: ["id"],
    columns: {
      id: "uuid",
      delivery_id: "uuid",
      store_id: "text",
      product_id: "uuid",
      expected: "integer?",
      scanned: "integer=",
      seen: "integer=",
      damaged: "integer=",
      note: "text=",
      removed: "boolean=",
      more: "boolean=",
      booked: "integer=",
      added_at: "timestamp",
    },
    refers: { delivery_id: "delivery", product_id: "product" },
  },
  product_change: {
    key: ["id"],
    columns: {
      id: "uuid",
      product_id: "uuid",
      field: "text=",
      old_value: "text=",
      new_value: "text=",
      lost: "text=",
      person: "text=",
      device: "text=",
      changed_at: "timestamp",
    },
    refers: {},
  },
  product_cost: {
    key: ["product_id"],
    columns: {
      product_id: "uuid",
      cost: "integer?",
      currency: "text=",
    },
    refers: { product_id: "product" },
  },
  permission: {
    key: ["role", "deed"],
    columns: {
      role: "text",
      deed: "text",
      allowed: "boolean=",
    },
    refers: {},
  },
  works_at: {
    key: ["store_id", "login"],
    columns: {
      store_id: "text",
      login: "text",
    },
    refers: {},
  },
  device: {
    key: ["id"],
    columns: {
      id: "text",
      name: "text=",
      login: "text=",
      at_work: "text=",
    },
    refers: {},
  },
  pin: {
    key: ["store_id", "login"],
    columns: {
      store_id: "text",
      login: "text",
      salt: "text=",
      hash: "text=",
      rounds: "integer=",
    },
    refers: {},
  },
} as const;
