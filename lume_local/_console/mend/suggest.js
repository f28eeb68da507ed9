// Suggestions: repairs of the values of a column that the flow accepts, each as one click after a look at them.

import { path, post, put, newKey } from "../api.js";
import { isBlamed } from "../blame.js";
import { el, fill } from "../dom.js";
import { counted, number } from "../format.js";
import { notice } from "../parts.js";
import { textOf as textOfTable } from "./clipboard.js";
import { reasonsOf, textOf } from "./sheet.js";

const MOST_VALUES = 200; // that are looked at; the commonest ones
const LONGEST = 1000;
const SHOWN = 5;
const SAMPLE = 1000;
const WORDS = {
  closest: "the nearest allowed value",
  spaces: "without odd spaces",
  lower: "in lower case",
  upper: "in upper case",
  capital: "with a capital letter",
  country: "the code of the country",
  email: "the bare address",
  swapped: "day and month swapped",
  day_first: "the date, day first",
  month_first: "the date, month first",
  comma: "the amount, with a decimal comma",
  point: "the amount, with a decimal point",
  percent: "the percentage",
  yes_or_no: "yes or no",
  missing: "no value",
};

export function suggester({ sheet, shown, grid, draft }, close) {
  const open = () => shown.rows.filter((row) => row.state === "open" && reasonsOf(row).length > 0);
  const chosen = choice(sheet, shown, grid, open());
  const options = (names, at) => names.map((name) => el("option", { value: name, selected: name === at }, name));
  const column = el("select", { name: "column" }, options(sheet.columns, chosen.column));
  const reason = el("select", { name: "reason" }, options(chosen.reasons, chosen.reason));
  const results = el("div", { class: "suggestions", role: "status" });
  const ask = el("button", { type: "submit" }, "Look for repairs");

  /** Rows by their value, the commonest value first. */
  function byValue() {
    const found = new Map();
    for (const row of open()) {
      const text = sheet.textOf(row, column.value);
      if (!reasonsOf(row).includes(reason.value) || !sheet.canEdit(row, column.value)) continue;
      if (text === "" || text.length > LONGEST) continue;
      if (found.has(text)) found.get(text).push(row);
      else found.set(text, [row]);
    }
    return [...found].sort(([, a], [, b]) => b.length - a.length);
  }

  async function look(event) {
    event.preventDefault();
    const groups = byValue();
    if (!groups.length)
      return fill(results, el("p", { class: "empty" }, "No row has this reason and a value there."));
    ask.disabled = true;
    fill(results, el("p", { class: "empty" }, "The flow tries what the cleaners suggest …"));
    const values = groups.slice(0, MOST_VALUES).map(([value, [row]]) => ({ run: row.run, row: row.reject, value }));
    try {
      const body = { column: column.value, reason: reason.value, values };
      const { items } = await post(`${path("drafts", draft.flow)}/suggest`, body, { signal: draft.signal });
      fill(results, items.length ? items.map((item) => repair(item, new Map(groups))) : nothing(groups.length));
    } catch (error) {
      if (!draft.signal.aborted) fill(results, el("p", { class: "problem", role: "alert" }, error.message));
    } finally {
      ask.disabled = false;
    }
  }

  /** A repair with what it changes, and the button that does it. */
  function repair({ repair: kind, values }, groups) {
    const name = column.value;
    const pairs = values.filter(({ from }) => groups.has(from));
    const count = pairs.reduce((sum, { from }) => sum + groups.get(from).length, 0);
    const apply = (event) => {
      const changes = pairs.flatMap(({ from, to }) =>
        groups
          .get(from)
          .filter((row) => sheet.textOf(row, name) === from)
          .map((row) => ({ row, name, text: to })),
      );
      notice(`${counted(sheet.edit(changes), "row")} changed.`);
      event.target.closest(".suggestion").remove();
      grid.node.focus();
    };
    const shownPairs = pairs
      .slice(0, SHOWN)
      .map(({ from, to }) => [
        el("span", { class: "mono removed" }, from),
        " → ",
        el("span", { class: "mono added" }, to || "nothing"),
      ]);
    const more = pairs.length > SHOWN ? ` and ${number(pairs.length - SHOWN)} more` : "";
    return el(
      "div",
      { class: "suggestion" },
      el("strong", {}, WORDS[kind] ?? kind),
      el(
        "span",
        { class: "grow diff" },
        shownPairs.flatMap((pair, n) => (n ? [", ", pair] : pair)),
        more,
      ),
      el("button", { on: { click: apply } }, `Apply to ${counted(count, "row")}`),
    );
  }

  /** The rows as a sample for the page that maps a file to the flow: what is done here once can be done always. */
  async function intoTheFlow() {
    const rows = open()
      .filter((row) => reasonsOf(row).includes(reason.value))
      .slice(0, SAMPLE);
    const name = `inbox-${newKey().slice(0, 12)}.csv`;
    const lines = [sheet.columns, ...rows.map((row) => sheet.columns.map((one) => textOf(row.values[one])))];
    const csv = textOfTable(lines, ",");
    try {
      const sent = await put(path("uploads", name), new Blob([`${csv}\n`]), { type: "application/octet-stream" });
      location.hash = `#/map/${encodeURIComponent(draft.flow)}?${new URLSearchParams({ file: sent.source_path })}`;
    } catch (error) {
      notice(error.message, true);
    }
  }

  return el(
    "form",
    { class: "tell find", "aria-label": "Suggest repairs", on: { submit: look } },
    el("label", { class: "field" }, "Reason", reason),
    el("label", { class: "field" }, "Column", column),
    ask,
    el("button", { type: "button", on: { click: intoTheFlow } }, "Put it into the flow …"),
    el("button", { type: "button", class: "quiet", on: { click: close } }, "Close"),
    results,
  );
}

const nothing = (count) =>
  el(
    "p",
    { class: "empty" },
    `For none of ${number(Math.min(count, MOST_VALUES))} values there is a repair that the flow accepts.`,
  );

/** The reason and the column that are meant most likely: those of the cursor, else the commonest. */
function choice(sheet, shown, grid, rows) {
  const counts = new Map();
  for (const row of rows) for (const reason of reasonsOf(row)) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const reasons = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a));
  const row = shown.rows[grid.cursor.row];
  const at = shown.columns[grid.cursor.column]?.name;
  const blames = (reason, name) => isBlamed([reason], name, shown.flowColumns);
  const own = row ? reasonsOf(row).find((reason) => at && blames(reason, at)) : undefined;
  const reason = own ?? (row && reasonsOf(row)[0]) ?? reasons[0];
  const column = own ? at : sheet.columns.find((name) => reason && blames(reason, name));
  return { reasons, reason, column: column ?? at ?? sheet.columns[0] };
}
