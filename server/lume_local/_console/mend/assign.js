// Assigns the selected rows: who works on them, and a comment.

import { post, whoAmI } from "../api.js";
import { el } from "../dom.js";
import { counted } from "../format.js";
import { notice } from "../parts.js";
import { inParts } from "./discard.js";

export function assigner({ shown, grid, draft }, close) {
  const [top, bottom] = grid.cursor.area;
  const rows = shown.rows.slice(top, bottom + 1).filter((row) => row.state === "open");
  const input = (name, value, most) => el("input", { name, value, maxlength: most, autocomplete: "off" });
  const assignee = input("assignee", rows[0]?.assignee || null, 256);
  const comment = input("comment", rows[0]?.comment || null, 500);
  const yes = el("button", { type: "submit", disabled: rows.length === 0 }, `Assign ${counted(rows.length, "row")}`);
  if (!assignee.value) whoAmI().then(({ name }) => (assignee.value ||= name));

  async function assign(event) {
    event.preventDefault();
    yes.disabled = true;
    const notes = { assignee: assignee.value, comment: comment.value };
    const given = Object.fromEntries(Object.entries(notes).filter(([, text]) => text));
    try {
      await inParts(rows, (choice) => post("/v1/rejects/assign", { ...choice, ...given }, { signal: draft.signal }));
      for (const row of rows) Object.assign(row, notes);
      notice(`${counted(rows.length, "row")} assigned${notes.assignee && ` to ${notes.assignee}`}.`);
      close();
      grid.draw();
    } catch (error) {
      yes.disabled = false;
      if (!draft.signal.aborted) notice(error.message, true);
    }
  }

  return el(
    "form.tell.find",
    { "aria-label": "Assign rows", on: { submit: assign } },
    el("label.field", "Assignee (empty: nobody)", assignee),
    el("label.field.why", "Comment", comment),
    yes,
    el("button", { type: "button", class: "quiet", on: { click: close } }, "Back"),
  );
}
