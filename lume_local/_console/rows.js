// Rows of a run's outputs: one page of them at a time.

import { get, page, path } from "./api.js";
import { el, fill } from "./dom.js";
import { cut, number } from "./format.js";
import { cell, table } from "./parts.js";

const LONGEST = 300;
const OWN = "_lume_";

/** A list of rows with a button for the next ones, which take their place. `query` is as the contract's. */
export function rowsOf(run, output, label, query, signal) {
  const node = el("div", { "aria-busy": "true" }, el("p", { class: "empty" }, "Loading …"));
  let first = 1;

  async function load(cursor) {
    node.setAttribute("aria-busy", "true");
    try {
      const [found, columns] = await Promise.all([
        page(path("runs", run.id, output), { ...query, cursor }, { signal }),
        columnsOf(run, output, signal),
      ]);
      const from = first;
      first += found.items.length;
      const again = () => {
        first = 1;
        load();
      };
      fill(
        node,
        found.items.length ? rowTable(found.items, columns, label) : el("p", { class: "empty" }, "No rows."),
        (cursor || found.next_cursor) &&
          el(
            "nav",
            { class: "pager", "aria-label": `Pages of ${label}` },
            el("span", { class: "muted num" }, `Rows ${number(from)} to ${number(first - 1)}`),
            cursor && el("button", { on: { click: again } }, "First rows"),
            found.next_cursor && el("button", { on: { click: () => load(found.next_cursor) } }, "More rows"),
          ),
      );
    } catch (error) {
      if (!signal.aborted) fill(node, el("p", { class: "empty", role: "alert" }, error.message));
    } finally {
      node.setAttribute("aria-busy", "false");
    }
  }
  load();
  return node;
}

/** A table of rows. `flowColumns` is as `readBy` gives it, for the values that the reasons name. */
export function rowTable(rows, flowColumns, label) {
  const has = (name) => rows.some((row) => (row[OWN + name] ?? null) !== null);
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) => !name.startsWith(OWN));
  // Of each column: its heading, how it looks, and its cell of a row.
  const columns = [
    has("reasons") && ["Row", "num", (row) => cell("num muted", place(row))],
    has("file") && ["File", "", (row) => cell("path muted", row[`${OWN}file`] ?? "")],
    has("reasons") && ["Why", "", (row) => cell("reasons", reasonsOf(row).map(reasonOf))],
    ...names.map((name) => [
      name,
      "",
      (row) => cell(isBlamed(row, name, flowColumns) ? "value blamed" : "value", value(row[name])),
    ]),
    has("raw") && ["Malformed line", "", (row) => cell("value", value(row[`${OWN}raw`] ?? ""))],
  ].filter(Boolean);
  const lines = rows.map((row) =>
    el(
      "tr",
      {},
      columns.map(([, , make]) => make(row)),
    ),
  );
  return table(label, columns, el("tbody", {}, lines));
}

const reasonsOf = (row) => row[`${OWN}reasons`] ?? [];
const reasonOf = (reason) => el("span", { class: "reason" }, reason);
const place = (row) => row[`${OWN}row`] ?? `line ${row[`${OWN}line`] ?? "?"}`;

/** Whether one of a row's reasons names a column of the flow that reads this column of the source. */
function isBlamed(row, name, flowColumns) {
  const expressions = reasonsOf(row).map((reason) => flowColumns[reason.split(":")[0]]);
  return expressions.some((sql) => sql && reads(sql, name));
}

/** The SQL of each of the flow's columns: a reason names such a column, a rejected row has those of its source. */
async function columnsOf(run, output, signal) {
  if (output !== "rejects") return {};
  const [flow, version] = run.flow_version.split(":");
  const { definition } = await get(path("flows", flow, "versions", version), {}, { signal }).catch(() => ({
    definition: { columns: {} },
  }));
  return readBy(definition);
}

/** What each of the flow's columns is read by, in SQL: its expression, and the names that sources have for it. */
export function readBy({ columns }) {
  const quoted = (name) => `"${name.replaceAll('"', '""')}"`;
  const read = (name, { from = [], sql }) => {
    const aliases = Array.isArray(from) ? from : from.first;
    return [sql, ...aliases.map(quoted), (!sql || aliases.length) && quoted(name)].filter(Boolean).join(" ");
  };
  return Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, read(name, column)]));
}

/** Whether an SQL expression reads a column of the source. */
function reads(sql, name) {
  const text = sql.toLowerCase();
  const column = name.toLowerCase();
  return (
    text.includes(`"${column.replaceAll('"', '""')}"`) ||
    (/^[a-z_]\w*$/.test(column) && new RegExp(`\\b${column}\\b`).test(text))
  );
}

function value(given) {
  if (given === null || given === undefined) return el("span", { class: "null" }, "null");
  const text = typeof given === "object" ? JSON.stringify(given) : String(given);
  return text.length > LONGEST ? el("span", { title: cut(text, 5000) }, cut(text, LONGEST)) : text;
}
