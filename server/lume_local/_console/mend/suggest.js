// Suggestions: repairs of a column's values that the flow accepts, each applied by one click after a preview.

import { path, post, upload } from "../api.js";
import { el, fill } from "../dom.js";
import { counted, number } from "../format.js";
import { inboxName, mapAddress } from "../map_upload.js";
import { actButton, notice } from "../parts.js";
import { textOf as textOfTable } from "./clipboard.js";
import { reasonsOf, textOf } from "./sheet.js";

const MOST_VALUES = 200; // to check, the most frequent first
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
  const chosen = choice(draft, shown, grid, open());
  const options = (names, at) => names.map((name) => el("option", { value: name, selected: name === at }, name));
  const column = el("select", { name: "column" }, options(sheet.columns, chosen.column));
  const reason = el("select", { name: "reason" }, options(chosen.reasons, chosen.reason));
  const results = el("div.suggestions", { role: "status" });
  const ask = el("button", { type: "submit" }, "Look for repairs");

  /** Groups rows by value, the most frequent first. */
  function byValue() {
    const value = (row) => sheet.textOf(row, column.value);
    const isMeant = (row) => reasonsOf(row).includes(reason.value) && sheet.canEdit(row, column.value);
    const rows = open().filter((row) => isMeant(row) && value(row) !== "" && value(row).length <= LONGEST);
    return [...Map.groupBy(rows, value)].sort(([, a], [, b]) => b.length - a.length);
  }

  const say = (text) => fill(results, el("p.empty", text));

  async function look(event) {
    event.preventDefault();
    const groups = byValue();
    if (!groups.length) return say("No row has this reason and a value there.");
    ask.disabled = true;
    say("The flow tries the suggested repairs …");
    const values = groups.slice(0, MOST_VALUES).map(([value, [row]]) => ({ run: row.run, row: row.reject, value }));
    try {
      const body = { column: column.value, reason: reason.value, values };
      const { items } = await post(`${path("drafts", draft.flow)}/suggest`, body, { signal: draft.signal });
      if (items.length)
        fill(
          results,
          items.map((item) => repair(item, new Map(groups))),
        );
      else say(`The flow rejects every repair of ${counted(values.length, "value")}.`);
    } catch (error) {
      if (!draft.signal.aborted) fill(results, el("p.problem", { role: "alert" }, error.message));
    } finally {
      ask.disabled = false;
    }
  }

  /** A repair with its changes, and the button that applies it. */
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
    const value = (look, text) => el("span", { class: `mono ${look}` }, text);
    const pair = ({ from, to }) => [value("removed", from), " → ", value("added", to || "nothing")];
    const shownPairs = pairs.slice(0, SHOWN).flatMap((one, n) => [n > 0 && ", ", pair(one)]);
    const more = pairs.length > SHOWN ? ` and ${number(pairs.length - SHOWN)} more` : "";
    return el(
      "div.suggestion",
      el("strong", WORDS[kind] ?? kind),
      el("span.grow.diff", shownPairs, more),
      el("button", { on: { click: apply } }, `Apply to ${counted(count, "row")}`),
    );
  }

  /** The rows as a sample for the mapping page, which can make a repair permanent. */
  async function intoTheFlow() {
    const rows = open()
      .filter((row) => reasonsOf(row).includes(reason.value))
      .slice(0, SAMPLE);
    const lines = [sheet.columns, ...rows.map((row) => sheet.columns.map((one) => textOf(row.values[one])))];
    location.hash = mapAddress(draft.flow, await upload(inboxName(), new Blob([`${textOfTable(lines, ",")}\n`])));
  }

  return el(
    "form.tell.find",
    { "aria-label": "Suggest repairs", on: { submit: look } },
    el("label.field", "Reason", reason),
    el("label.field", "Column", column),
    ask,
    actButton("Put it into the flow …", intoTheFlow),
    el("button", { type: "button", class: "quiet", on: { click: close } }, "Close"),
    results,
  );
}

/** Returns the likeliest reason and column: of the page, else of the cursor, else the most frequent. */
export function choice(draft, shown, grid, rows) {
  const counts = new Map();
  for (const row of rows) for (const reason of reasonsOf(row)) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const reasons = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a));
  const row = shown.rows[grid.cursor.row];
  const at = shown.columns[grid.cursor.column]?.name;
  const own = row ? reasonsOf(row) : [];
  const ofCursor = own.find((one) => at && shown.columnOf(one, at) === at) ?? own[0];
  const reason = counts.has(draft.reason) ? draft.reason : (ofCursor ?? reasons[0]);
  return { reasons, reason, column: (reason && shown.columnOf(reason, at)) ?? at ?? shown.sheet.columns[0] };
}
