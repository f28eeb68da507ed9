// Clusters: spellings of one value in a column, each changed to that value by one click in all loaded rows.

import { path, post } from "../api.js";
import { el, fill } from "../dom.js";
import { counted, number } from "../format.js";
import { notice, select } from "../parts.js";
import { choice } from "./suggest.js";

const MOST_VALUES = 4000; // the most frequent ones
const LONGEST = 100; // characters of a value
const SHOWN = 12; // spellings of a cluster

export function clusterer({ sheet, shown, grid, draft }, close) {
  const { column: at } = choice(draft, shown, grid, sheet.rows);
  const options = sheet.columns.map((name) => [name, name]);
  const column = select({ name: "column" }, options, at, look);
  const results = el("div.suggestions");
  const said = el("p.grow", { role: "status" });
  let groups = new Map(); // the rows by value, of all that are loaded, whatever the filter shows

  async function look() {
    const name = column.value;
    const value = (row) => sheet.textOf(row, name);
    const isMeant = (row) => sheet.canEdit(row, name) && value(row) && value(row).length <= LONGEST;
    groups = Map.groupBy(sheet.rows.filter(isMeant), value);
    const values = [...groups.keys()].sort((a, b) => groups.get(b).length - groups.get(a).length);
    try {
      const body = { column: name, values: values.slice(0, MOST_VALUES) };
      const url = `${path("drafts", draft.flow)}/clusters`;
      const { items } = values.length ? await post(url, body, { signal: draft.signal }) : { items: [] };
      if (name === column.value) show(items);
    } catch (error) {
      if (!draft.signal.aborted) said.textContent = error.message;
    }
  }

  function show(items) {
    const spellings = items.reduce((sum, { values }) => sum + values.length, 0);
    said.textContent = items.length
      ? `${counted(spellings, "spelling")} of ${counted(items.length, "value")}`
      : "No values look alike.";
    const nodes = items.map(cluster);
    const all = el("button", { type: "button", on: { click: () => change(items) } }, "Change all clusters");
    fill(results, items.length > 1 && el("div", all), nodes);
  }

  /** A cluster with its spellings, the value for them, and the button. */
  function cluster(item) {
    item.input = el("input", { value: item.suggested, autocomplete: "off" });
    const button = el("button", { type: "submit" });
    const count = () => (button.textContent = `Change ${counted(changes(item).length, "row")}`);
    const submit = (event) => {
      event.preventDefault();
      change([item]);
    };
    const spelling = (value) => [el("span.mono", value), ` (${number(groups.get(value).length)}) `];
    const more = item.values.length - SHOWN;
    count();
    return el(
      "form.suggestion",
      { "aria-label": `Cluster ${item.suggested}`, on: { submit, input: count } },
      el("span.grow", item.values.slice(0, SHOWN).map(spelling), more > 0 && `and ${number(more)} more`),
      el("label.field", item.allowed ? "Allowed value" : "Most frequent", item.input),
      button,
    );
  }

  /** The cells of a cluster that differ from its value, without those edited in the meantime. */
  function changes({ values, input }) {
    const name = column.value;
    const isOld = (row, value) => sheet.textOf(row, name) === value && value !== input.value;
    const rows = values.flatMap((value) => groups.get(value).filter((row) => isOld(row, value)));
    return rows.map((row) => ({ row, name, text: input.value }));
  }

  function change(items) {
    notice(`${counted(sheet.edit(items.flatMap(changes)), "row")} changed.`);
    look().then(() => (results.querySelector("input") ?? grid.node).focus());
  }

  look();
  return el(
    "section.tell.find",
    { "aria-label": "Similar values" },
    el("label.field", "Column", column),
    said,
    el("button", { type: "button", class: "quiet", on: { click: close } }, "Close"),
    results,
  );
}
