// A trial of the proposed version on a whole file.

import { readBy } from "./blame.js";
import { reasonBars } from "./charts.js";
import { el, fill } from "./dom.js";
import { fileName, number } from "./format.js";
import { card, figure, figures, notice, rejectedFigure, select } from "./parts.js";
import { rowTable } from "./rows.js";
import { reasonsOf } from "./status.js";

const SOME = 10;
const CHANGED = "The mapping has changed since: try it again.";

/** `node` has the button and the result; `draw` removes a result of another mapping. */
export function trialOf(mapping) {
  const result = el("div", { "aria-live": "polite" });
  const button = el("button", { type: "button", class: "primary", on: { click: run } }, "Try");
  let place = 0; // of the file among the samples
  let tried = null; // the definition of the result
  let isBusy = false;

  async function run() {
    if (isBusy) return;
    isBusy = true;
    tried = null;
    result.setAttribute("aria-busy", "true");
    fill(result, el("p.empty", "Trying …"));
    try {
      const found = await mapping.ask({ dry_run: true, dry_run_sample: place });
      if (!found) fill(result, el("p.empty", CHANGED));
      else {
        tried = JSON.stringify(found.definition);
        fill(result, resultOf(found));
      }
    } catch (error) {
      fill(result);
      if (!mapping.signal.aborted) notice(error.message, true);
    } finally {
      isBusy = false;
      result.setAttribute("aria-busy", "false");
    }
  }

  function draw() {
    if (tried === null || tried === JSON.stringify(mapping.proposal.definition)) return;
    tried = null;
    fill(result, el("p.empty", CHANGED));
  }
  const about = "Runs the version on the whole file. Nothing is written.";
  const files = mapping.files.map((file, index) => [String(index), fileName(file)]);
  const choose = select({ name: "tried" }, files, "0", (value) => (place = Number(value)));
  const which = files.length > 1 && el("label.field.inline", "File", choose);
  return {
    node: card("Try it", el("p.muted", about), el("div.buttons.gap", which, button), result),
    draw,
  };
}

function resultOf({ dry_run: run, definition }) {
  const { metrics, error_message: message } = run.metadata;
  const reasons = reasonsOf(metrics);
  return [
    message && el("p.problem", message),
    figures(
      figure("Rows read", number(metrics.rows_read)),
      figure("Clean", number(metrics.rows_mapped), metrics.rows_mapped ? "ok" : ""),
      rejectedFigure("Rejected", metrics),
    ),
    reasons.length > 0 && [el("h3", "Why rows are rejected"), reasonBars(reasons)],
    rows(run.rows.rejects, "First rejected rows", readBy(definition)),
    rows(run.rows.mapped, "First clean rows", {}),
  ];
}

function rows(found, label, columns) {
  return found.length > 0 && [el("h3", label), rowTable(found.slice(0, SOME), columns, label)];
}
