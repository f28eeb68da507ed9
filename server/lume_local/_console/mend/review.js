// Edited rows that wait for a second person's approval: their changes, and the answer.

import { path, post } from "../api.js";
import { el, fill } from "../dom.js";
import { counted, number, shortId } from "../format.js";
import { actButton, address, notice } from "../parts.js";
import { inLayout, labelOf, textOf } from "./sheet.js";

const SHOWN = 200;
const rows = (count) => counted(count, "row");

/** The address of the page on which another person answers. */
export const reviewAddress = (flow, { owner, reason }) => address(["inbox", flow], "", { owner, reason });

/** The draft of another person; `draw` updates the changes. */
export function reviewing({ flow, draft, sheet, who }) {
  const title = el("h2");
  const changes = el("ul.diff");
  const comment = el("input", { name: "comment", maxlength: 500 });
  const may = who.role !== "read";

  async function answer(approve) {
    const body = { owner: draft.owner, rev: draft.rev, approve, comment: comment.value || null };
    const { rows: count, runs } = await post(`${path("drafts", flow)}/review`, body);
    const as = runs.map((run) => `run ${shortId(run.id)}`).join(", ");
    notice(approve ? `${rows(count)} approved: ${as}.` : `The rows were sent back to ${draft.owner}.`);
    location.hash = address(["inbox"], "", {});
  }

  function draw() {
    const edited = sheet.rows.filter((row) => row.state === "open" && sheet.isEdited(row) && row.why?.length === 0);
    fill(title, `${rows(edited.length)} of ${draft.owner} wait for approval`);
    const value = (look, text) => el("span", { class: `mono ${look}` }, text || "nothing");
    const change = (row) => ([name, text], n) => [
      `${n ? ", " : ""}${labelOf(name)}: `,
      value("removed", textOf(row.values[name])),
      " → ",
      value("added", text),
    ];
    fill(
      changes,
      edited
        .slice(0, SHOWN)
        .map((row) => el("li", `${inLayout(row.whole, row)}, `, Object.entries(row.cells).map(change(row)))),
      edited.length > SHOWN && el("li", `and ${number(edited.length - SHOWN)} more, in the table below`),
    );
  }

  const node = el(
    "section.card",
    { "aria-label": "Approval" },
    title,
    changes,
    may && el("label.field", "Comment", comment),
    may && el("div.buttons", actButton("Approve", () => answer(true), "primary"), actButton("Send back", () => answer(false))),
  );
  return { node, draw };
}

/** Notices about submissions of the flow, for `told`. */
export function waiting({ draft, who, flow }) {
  return draft.submissions.map((one) => {
    if (one.owner !== who.name) {
      const look = () => (location.hash = reviewAddress(flow, one));
      return { text: `${rows(one.rows)} of ${one.owner} wait for approval.`, buttons: [["Look at them", look]] };
    }
    const back = { look: "warn", text: `${one.reviewer} has sent back ${rows(one.rows)}: ${one.comment}` };
    const waits = { text: `${rows(one.rows)} wait for another person's approval; a further edit takes them back.` };
    return { waiting: waits, sent_back: back }[one.state];
  });
}
