/** A shop with so many products that they come as a file. */

/** From which number of rows on the tests' servers offer files. */
export const FILE_ROWS = 2_000;
/** Of names that hardly shrink: the file has a few hundred kilobytes. */
export const ROWS = 12_000;

/** SQL for the server's database; products `p000000` and on, with as many in stock as their number. */
export function fill(rows = ROWS): string {
  return (
    `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows - 1}) ` +
    "INSERT INTO stock (sku, name, on_hand, barcode) SELECT printf('p%06d', i), " +
    "hex(randomblob(12)), i, CASE WHEN i % 10 = 0 THEN printf('4%06d', i) END FROM n"
  );
}

export const COUNT_ALL = "SELECT count(*) FROM stock";
export const SEVENTH = "SELECT on_hand FROM stock WHERE sku = 'p000007'";
/** A transaction that is made before anything has been loaded. */
export const BEFORE = "INSERT INTO stock (sku, on_hand) VALUES ('mine', 3), ('p000007', 5)";
