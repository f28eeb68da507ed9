// A rule: edits of a column that repeat every month become a part of the next version of the flow.

import { replayOpen } from "../actions.js";
import { get, path, post, request, saveAs } from "../api.js";
import { changes as differences, described } from "../diff.js";
import { el, fill } from "../dom.js";
import { counted, number } from "../format.js";
import { changed } from "../page_flow.js";
import { actButton, select } from "../parts.js";
import { RAW, textOf } from "./sheet.js";

const SHOWN = 5;

export function ruler({ sheet, draft }, close) {
  const names = sheet.columns.filter((name) => name !== RAW && pairsOf(sheet, name).size > 0);
  const options = names.map((name) => [name, name]);
  const column = select({ name: "column" }, options, names[0], list);
  const found = el("div.suggestions", { role: "status" });
  const result = el("div.suggestions", { "aria-live": "polite" });
  const ask = el("button", { type: "submit" }, "Try the rule");

  /** Shows the substitutions, and why some can't be one. */
  function list() {
    const pairs = [...pairsOf(sheet, column.value)];
    const several = pairs.filter(([, to]) => to.size > 1);
    const single = pairs.filter(([, to]) => to.size === 1);
    const value = (look, text) => el("span", { class: `mono ${look}` }, text);
    const all = (to) => [...to].map((text) => text || "nothing").join(" or ");
    const pair = ([from, to], n) => [n > 0 && ", ", value("removed", from), " → ", value("added", all(to))];
    const more = (some) => some.length > SHOWN && ` and ${number(some.length - SHOWN)} more`;
    const shown = (some) => [some.slice(0, SHOWN).map(pair), more(some)];
    const none = "Edit some values first: their changes can become a rule.";
    const both = "Not in the rule, because the same value was changed differently: ";
    ask.disabled = single.length === 0;
    fill(result);
    fill(
      found,
      single.length ? el("p.diff", shown(single)) : el("p.empty", none),
      several.length > 0 && el("p.problem", both, shown(several)),
    );
    return Object.fromEntries(single.map(([from, [to]]) => [from, to || null]));
  }

  async function attempt(event) {
    event.preventDefault();
    const body = { column: column.value, reason: draft.reason, changes: list() };
    fill(result, el("p.empty", "The open rows are tried …"));
    try {
      const rule = await post(`${path("drafts", draft.flow)}/rule`, body, { signal: draft.signal });
      const { definition } = await get(path("flows", draft.flow, "versions", rule.to.split(":")[1]));
      if (column.value === body.column) fill(result, tried(rule, definition));
    } catch (error) {
      if (!draft.signal.aborted) fill(result, el("p.problem", { role: "alert" }, error.message));
    }
  }

  function tried({ flow_version: reference, definition, toml, rows, passed, messages }, before) {
    const version = definition.version;
    async function save() {
      const body = JSON.stringify(definition);
      await request("PUT", path("flows", draft.flow, "versions", version), { body, type: "application/json" });
      const words = `${reference} is saved, and judges the rows from now on: submit your edits, or replay the rows.`;
      fill(result, el("p.grow", words), actButton("Replay the open rows", replay));
      result.lastChild.focus();
      draft.judge();
    }
    const replay = () => replayOpen(reference, draft.reason);
    return [
      el("p", `${reference} would accept ${number(passed)} of ${counted(rows, "open row")}, as they are.`),
      messages.map((message) => el("p.problem", message)),
      differences(described(before), described(definition)).map(changed),
      el(
        "div.buttons",
        actButton(`Save as ${version}`, save, "primary"),
        actButton("Download the flow file", () => saveAs(new Blob([toml]), `${reference.replace(":", ".")}.toml`)),
      ),
    ];
  }

  list();
  return el(
    "form.tell.find",
    { "aria-label": "Save edits as a rule", on: { submit: attempt } },
    el("label.field", "Column", column),
    ask,
    el("button", { type: "button", class: "quiet", on: { click: close } }, "Close"),
    found,
    result,
  );
}

/** The new values of a column by the old ones. A cell that was empty has no value to recognise it by. */
function pairsOf({ rows }, name) {
  const found = new Map();
  for (const { values, cells } of rows) {
    const before = textOf(values[name]);
    if (!(name in cells) || before === "") continue;
    if (!found.has(before)) found.set(before, new Set());
    found.get(before).add(cells[name] ?? "");
  }
  return found;
}
