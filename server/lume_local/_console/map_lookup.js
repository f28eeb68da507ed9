// The meaning of a file's values where the target allows only some: a table that a person corrects.

import { el } from "./dom.js";
import { cut, number } from "./format.js";
import { table } from "./parts.js";

const LONGEST = 60;

/** The lookup of a column; nothing if all values are already members. */
export function lookupEditor({ name, chosen, definition }, decision, change) {
  if (!chosen?.lookup?.length) return null;
  const rows = chosen.lookup.map((line) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, el("code", {}, cut(line.source, LONGEST))),
      el("td", { class: "num" }, number(line.rows)),
      el(
        "td",
        {},
        member(name, line, definition.enum, (target) =>
          change({ lookup: { ...decision.lookup, [line.source]: target } }),
        ),
      ),
    ),
  );
  const open = chosen.lookup.filter((line) => line.target === null).length;
  return el(
    "details",
    { class: "lookup", open: open > 0 || decision.lookup !== undefined },
    el("summary", {}, `${chosen.lookup.length} values${open ? `, ${open} without a meaning` : ""}`),
    table(`Values of ${name}`, [["Value"], ["Rows", "num"], ["Means"]], rows),
  );
}

function member(name, line, members, choose) {
  const changed = (event) => choose(event.target.value === "" ? null : members[Number(event.target.value)]);
  return el(
    "select",
    {
      name: `lookup ${name} ${line.source}`,
      "aria-label": `What ${line.source} means in ${name}`,
      on: { change: changed },
    },
    el("option", { value: "", selected: line.target === null }, "rejected"),
    members.map((one, index) => el("option", { value: index, selected: one === line.target }, one)),
  );
}
