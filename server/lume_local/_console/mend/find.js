// Find and replace in a column.

import { el } from "../dom.js";
import { counted, number } from "../format.js";
import { notice } from "../parts.js";

export function finder({ sheet, shown, grid, draft }, close) {
  const cursor = shown.columns[grid.cursor.column]?.name;
  const at = (draft.reason && shown.columnOf(draft.reason, cursor)) ?? cursor ?? sheet.columns[0];
  const column = el(
    "select",
    { name: "column" },
    shown.columns.slice(2).map(({ name, label }) => el("option", { value: name, selected: name === at }, label)),
  );
  const input = (name) => el("input", { name, autocomplete: "off", spellcheck: "false" });
  const [find, replace] = [input("find"), input("replace")];
  const check = (name) => el("input", { type: "checkbox", name });
  const [whole, cased] = [check("whole"), check("case")];
  const place = () => column.selectedOptions[0].text;
  const found = el("span.muted.num", { role: "status" });
  const all = el("button", { type: "submit" }, "Replace all");

  /** The search text; null if there is none. */
  function pattern() {
    if (find.value === "" && !whole.checked) return null;
    const text = find.value.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
    return new RegExp(whole.checked ? `^${text}$` : text, cased.checked ? "g" : "gi");
  }

  const holds = (text) => pattern()?.test(text) ?? false;
  const replaced = (text) => text.replace(pattern(), () => replace.value);
  const matching = () =>
    shown.rows.filter((row) => sheet.canEdit(row, column.value) && holds(sheet.textOf(row, column.value)));

  function count() {
    const number_ = matching().length;
    found.textContent = find.value === "" && !whole.checked ? "" : `${counted(number_, "cell")} in ${place()}`;
    all.textContent = `Replace all${number_ ? ` (${number(number_)})` : ""}`;
  }

  function next() {
    const rows = shown.rows;
    for (let step = 1; step <= rows.length; step++) {
      const row = (grid.cursor.row + step) % rows.length;
      if (!holds(sheet.textOf(rows[row], column.value))) continue;
      return grid.goTo(row, shown.indexOf(column.value));
    }
  }

  function replaceAll(event) {
    event.preventDefault();
    const name = column.value;
    const changes = matching().map((row) => ({ row, name, text: replaced(sheet.textOf(row, name)) }));
    notice(`${counted(sheet.edit(changes), "cell")} changed in ${place()}.`);
    count();
  }

  const node = el(
    "form.tell.find",
    {
      "aria-label": "Find and replace",
      on: { submit: replaceAll, input: count, change: count },
    },
    el("label.field", "Column", column),
    el("label.field", "Find", find),
    el("label.field", "Replace with", replace),
    el("label.chip", whole, "Whole cell"),
    el("label.chip", cased, "Match case"),
    el("button", { type: "button", on: { click: next } }, "Find next"),
    all,
    el("button", { type: "button", class: "quiet", on: { click: close } }, "Close"),
    found,
  );
  count();
  return node;
}
