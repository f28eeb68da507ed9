// Rows of a run's outputs, one page at a time.

import { page, path } from "./api.js";
import { columnsOf, isBlamed } from "./blame.js";
import { el, fill } from "./dom.js";
import { cut, number } from "./format.js";
import { placeOf, textOf } from "./mend/sheet.js";
import { table } from "./parts.js";

const LONGEST = 300;
const WIDE = 20; // characters: longer values get a wide column
const OWN = "_lume_";

/** A list of rows with a button for the next ones, which replace them. `query` is that of the contract. */
export function rowsOf(run, output, label, query, signal) {
  const node = el("div", { "aria-busy": "true" }, el("p.empty", "Loading …"));
  let first = 1;

  async function load(cursor) {
    node.setAttribute("aria-busy", "true");
    try {
      const [found, columns] = await Promise.all([
        page(path("runs", run.id, output), { ...query, cursor }, { signal }),
        output === "rejects" ? columnsOf(run.flow_version, signal) : {},
      ]);
      const from = first;
      first += found.items.length;
      const again = () => {
        first = 1;
        load();
      };
      fill(
        node,
        found.items.length ? rowTable(found.items, columns, label, run.source_path) : el("p.empty", "No rows."),
        (cursor || found.next_cursor) &&
          el(
            "nav.pager",
            { "aria-label": `Pages of ${label}` },
            el("span.muted.num", `Rows ${number(from)} to ${number(first - 1)}`),
            cursor && el("button", { on: { click: again } }, "First rows"),
            found.next_cursor && el("button", { on: { click: () => load(found.next_cursor) } }, "More rows"),
          ),
      );
    } catch (error) {
      if (!signal.aborted) fill(node, el("p.empty", { role: "alert" }, error.message));
    } finally {
      node.setAttribute("aria-busy", "false");
    }
  }
  load();
  return node;
}

/** A table of rows. `readings` comes from `readBy`, to mark the values that the reasons name. */
export function rowTable(rows, readings, label, source) {
  const has = (name) => rows.some((row) => (row[OWN + name] ?? null) !== null);
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) => !name.startsWith(OWN));
  // For each column: its heading, its class, and its cell in a row.
  const columns = [
    has("reasons") && ["Row", "num muted", (row) => placeOf(row, row._lume_file ?? source)],
    has("file") && ["File", "path muted", (row) => row[`${OWN}file`] ?? ""],
    has("layout") && ["Layout", "muted", (row) => row[`${OWN}layout`] ?? ""],
    has("reasons") && ["Why", "reasons", (row) => reasonsOf(row).map((reason) => el("span.reason", reason))],
    ...names.map((name) => [
      name,
      "",
      (row) => {
        const isWide = textOf(row[name]).length > WIDE;
        const isBad = isBlamed(reasonsOf(row), name, readings, row[`${OWN}layout`]);
        return el("td", { class: `value${isWide ? " long" : ""}${isBad ? " blamed" : ""}` }, value(row[name]));
      },
    ]),
    has("raw") && ["Malformed line", "value", (row) => value(row[`${OWN}raw`] ?? "")],
  ].filter(Boolean);
  return table(
    label,
    columns,
    rows.map((row) => columns.map(([, , make]) => make(row))),
  );
}

const reasonsOf = (row) => row[`${OWN}reasons`] ?? [];

function value(given) {
  if (given === null || given === undefined) return el("span.null", "null");
  const text = textOf(given);
  return text.length > LONGEST ? el("span", { title: cut(text, 5000) }, cut(text, LONGEST)) : text;
}
