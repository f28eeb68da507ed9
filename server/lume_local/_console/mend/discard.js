// Discards rows that need no further work, with a reason.

import { post } from "../api.js";
import { el } from "../dom.js";
import { counted } from "../format.js";
import { notice } from "../parts.js";

const AT_ONCE = 10_000; // rows of a run

/** Calls `act` with each choice of rows that one request may have. */
export async function inParts(rows, act) {
  for (const [run, ofRun] of Map.groupBy(rows, (row) => row.run)) {
    const numbers = ofRun.map((row) => row.reject);
    for (let at = 0; at < numbers.length; at += AT_ONCE) await act({ run, rows: numbers.slice(at, at + AT_ONCE) });
  }
}

/** Discards the selected rows. */
export function discarder({ sheet, shown, grid, draft, discarded }, close) {
  const [top, bottom] = grid.cursor.area;
  const rows = shown.rows.slice(top, bottom + 1).filter((row) => row.state === "open");
  const why = el("input", { name: "why", required: true, maxlength: 500, autocomplete: "off" });
  const words = counted(rows.length, "row");
  const yes = el("button", { type: "submit", class: "danger", disabled: rows.length === 0 }, `Discard ${words}`);

  async function discard(event) {
    event.preventDefault();
    yes.disabled = true;
    let count = 0;
    try {
      await inParts(rows, async (choice) => {
        const body = { ...choice, why: why.value };
        count += (await post("/v1/rejects/discard", body, { signal: draft.signal })).discarded;
      });
      await draft.takeOut(rows.filter((row) => draft.known.has(row.id)).map((row) => draft.known.get(row.id)));
      sheet.remove(new Set(rows.map((row) => row.id)));
      notice(`${counted(count, "row")} ${count === 1 ? "was" : "were"} discarded.`);
      close();
      await discarded();
    } catch (error) {
      yes.disabled = false;
      if (!draft.signal.aborted) notice(error.message, true);
    }
  }

  return el(
    "form.tell.find",
    { "aria-label": "Discard rows", on: { submit: discard } },
    el("label.field.why", `Why nothing is left to do about ${words}`, why),
    yes,
    el("button", { type: "button", class: "quiet", on: { click: close } }, "Back"),
  );
}
