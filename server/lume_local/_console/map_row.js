// One column of a target: its source, three values before and after, the evidence, and a person's decision.

import { el, fill } from "./dom.js";
import { cut, number } from "./format.js";
import { rowHead, table } from "./parts.js";

const LONGEST = 80;
const GRADES = { certain: "ok", high: "active", medium: "partial", low: "failed" };
const CHECKS = ["required", "unique"];

/**
 * Redraws the row if anything has changed; the focus stays on the control of the same name and value.
 * `change(fields)` changes the decision about this column. `said` names it among those of all layouts.
 */
export function drawRow(row, column, said, decision, names, change) {
  const state = JSON.stringify([column, said, decision, names]);
  if (row.state === state) return;
  row.state = state;
  const focused = row.contains(document.activeElement) ? document.activeElement : null;
  fill(
    row,
    target(column),
    el(
      "td",
      source(column, said, decision, names, change),
      readings(column, said, change),
      lookup(column, said, decision, change),
    ),
    el("td", values(column.chosen)),
    el("td.evidence", evidence(column, decision)),
    el("td", review(said, decision, change)),
  );
  if (focused === null) return;
  const alike = [...row.querySelectorAll(focused.tagName)].filter((one) => one.name === focused.name);
  (alike.find((one) => one.value === focused.value) ?? alike[0])?.focus({ preventScroll: true });
}

function target({ name, definition }) {
  const kind = definition.format ?? definition.type ?? "string";
  const checks = [kind, ...CHECKS.filter((check) => definition[check])];
  return el(
    "th",
    { scope: "row" },
    name,
    el(
      "div",
      checks.map((check) => el("span.tag", check)),
    ),
  );
}

/** A choice of source columns: the candidates first, then every column of the file. */
function source(column, said, decision, names, change) {
  const chosen = column.chosen ? JSON.stringify(column.chosen.sources) : null;
  const isOpen = decision.sources?.length === 0;
  const candidates = column.candidates.map((one) => JSON.stringify(one.sources));
  const proposed = [...new Set(candidates)].map((value) => {
    const one = column.candidates[candidates.indexOf(value)];
    return option(value, `${one.sources.join(" + ")} (${one.grade})`, value === chosen);
  });
  const others = names
    .map((name) => JSON.stringify([name]))
    .filter((value) => !candidates.includes(value))
    .map((value) => option(value, JSON.parse(value)[0], value === chosen));
  const changed = (event) =>
    change({ sources: JSON.parse(event.target.value), reading: undefined, lookup: undefined, review: undefined });
  return el(
    "select",
    { name: `source ${said}`, "aria-label": `Source of ${said}`, on: { change: changed } },
    !chosen && !isOpen && el("option", { value: "null", selected: true, disabled: true }, "not found: choose"),
    proposed.length > 0 && el("optgroup", { label: "Proposed" }, proposed),
    others.length > 0 && el("optgroup", { label: "Columns of the file" }, others),
    option("[]", "leave open", isOpen),
  );
}

const option = (value, text, selected) => el("option", { value, selected }, text);

/** A choice of the meaning of ambiguous values: day or month first, or the decimal mark. */
function readings({ chosen }, said, change) {
  if (!chosen?.readings.length) return null;
  return el(
    "fieldset.readings",
    el("legend", `What is meant in ${chosen.sources.join(", ")}?`),
    chosen.readings.map((one) =>
      el(
        "label",
        el("input", {
          type: "radio",
          name: `reading ${said}`,
          value: one.key,
          checked: one.key === chosen.reading,
          on: { change: () => change({ reading: one.key }) },
        }),
        one.means,
        one.rejected > 0 && el("span.muted", ` (${one.rejected} rejected)`),
      ),
    ),
  );
}

/** The lookup of a column; nothing if all values are already members. */
function lookup({ chosen, definition }, said, decision, change) {
  if (!chosen?.lookup?.length) return null;
  const means = (line) => (target) => change({ lookup: { ...decision.lookup, [line.source]: target } });
  const rows = chosen.lookup.map((line) => [
    rowHead(el("code", cut(line.source, LONGEST))),
    number(line.rows),
    member(said, line, definition.enum, means(line)),
  ]);
  const open = chosen.lookup.filter((line) => line.target === null).length;
  return el(
    "details.lookup",
    { open: open > 0 || decision.lookup !== undefined },
    el("summary", `${chosen.lookup.length} values${open ? `, ${open} without a meaning` : ""}`),
    table(`Values of ${said}`, [["Value"], ["Rows", "num"], ["Means"]], rows),
  );
}

function member(said, line, members, choose) {
  const changed = (event) => choose(event.target.value === "" ? null : members[Number(event.target.value)]);
  return el(
    "select",
    {
      name: `lookup ${said} ${line.source}`,
      "aria-label": `Meaning of ${line.source} in ${said}`,
      on: { change: changed },
    },
    el("option", { value: "", selected: line.target === null }, "rejected"),
    members.map((one, index) => el("option", { value: index, selected: one === line.target }, one)),
  );
}

function values(chosen) {
  if (!chosen?.values.length) return null;
  return el(
    "ul.plain.values",
    chosen.values.map(({ before, after }) =>
      el(
        "li",
        el("code", cut(before ?? "", LONGEST)),
        el("span.muted", el("span", { "aria-hidden": "true" }, " → "), el("span.unseen", "becomes ")),
        after === null ? el("span.reason", "rejected") : el("code", cut(after, LONGEST)),
      ),
    ),
  );
}

function evidence(column, decision) {
  const { chosen, notes, definition } = column;
  if (!chosen) {
    const isOpen = decision.sources?.length === 0;
    return [
      el("p", isOpen ? "Left open: NULL in every row." : "No column of the file is likely enough."),
      isOpen && definition.required && el("p.reason", "It is required: every row is rejected."),
    ];
  }
  return [
    el("span", { class: `badge ${GRADES[chosen.grade] ?? "cancelled"}` }, chosen.grade),
    el(
      "ul",
      chosen.evidence.map((one) => el("li", one)),
    ),
    chosen.doubts.map((one) => el("p.reason", `Decide: ${one}.`)),
    notes.map((one) => el("p.muted", `Not checked: ${one}.`)),
  ];
}

function review(said, decision, change) {
  const toggle = (state, word) => {
    const isOn = decision.review === state;
    return el(
      "button",
      {
        type: "button",
        name: `${state} ${said}`,
        "aria-pressed": String(isOn),
        "aria-label": `${word} ${said}`,
        on: {
          click: () =>
            change({ review: isOn ? undefined : state, ...(state === "approved" && { note: undefined }) }),
        },
      },
      word,
    );
  };
  const noted = (event) => change({ note: event.target.value.trim() || undefined });
  return [
    el("div.buttons", toggle("approved", "Approve"), toggle("flagged", "Flag")),
    decision.review === "flagged" &&
      el("input", {
        name: `note ${said}`,
        value: decision.note ?? "",
        maxlength: 500,
        placeholder: "Why?",
        "aria-label": `Why ${said} is flagged`,
        on: { change: noted },
      }),
  ];
}
