// Notices above the grid: changes elsewhere, submissions that somebody else has ended, rows that can't be read.

import { el, fill } from "../dom.js";
import { counted, number } from "../format.js";
import { MOST_ROWS } from "./load.js";
import { waiting } from "./review.js";
import { idOf } from "./sheet.js";
import { STATES } from "./shown.js";

/** Shows a notice, unless it was shown before. */
export function told(node, mending) {
  const { draft, sheet, progress, isReadOnly } = mending;
  const found = [
    ...waiting(mending),
    conflicts(draft),
    ended(draft),
    others(draft, sheet),
    unread(progress),
    full(progress, draft, sheet),
    objects(sheet, isReadOnly),
  ].filter(Boolean);
  const state = JSON.stringify(found.map(({ text }) => text));
  if (node.state === state) return;
  node.state = state;
  fill(
    node,
    found.map(({ text, look, buttons = [] }) => tell(text, look, isReadOnly ? [] : buttons)),
  );
}

/** A notice with its actions, [name, click, look] each. */
export const tell = (text, look, buttons) =>
  el(
    "div",
    { class: `tell ${look ?? ""}`, role: "status" },
    el("span.grow", text),
    buttons.map(([name, click, look]) => el("button", { class: look, on: { click } }, name)),
  );

const rows = (count) => counted(count, "row");

function conflicts(draft) {
  const count = draft.conflicts.size;
  if (!count) return null;
  return {
    look: "warn",
    text: `${rows(count)} of your draft ${count === 1 ? "was" : "were"} changed in another tab, or by somebody with the same key. The server has their edits, this page has yours.`,
    buttons: [
      ["Show theirs", () => draft.settle(false)],
      ["Keep mine", () => draft.settle(true)],
    ],
  };
}

const NOT_ENDED = ["open", "replaying"];

function ended(draft) {
  const found = [...draft.known.values()].filter((item) => !NOT_ENDED.includes(item.state));
  if (!found.length) return null;
  const each = new Set(found.map(({ state, by }) => `${STATES[state]}${by ? ` by ${by}` : ""}`));
  return {
    look: "warn",
    text: `${rows(found.length)} of your draft ${found.length === 1 ? "is" : "are"} no longer open: ${[...each].slice(0, 3).join(", ")}. Your edits are kept until you remove them.`,
    buttons: [["Remove these edits", () => draft.takeOut(found)]],
  };
}

function others(draft, sheet) {
  const here = sheet.rows.filter((row) => draft.elsewhere.has(row.id));
  if (!here.length) return null;
  const owners = [...new Set(here.map((row) => draft.elsewhere.get(row.id).owner))];
  const mine = here.filter((row) => draft.known.has(idOf(row.run, row.reject))).length;
  const both = mine ? ` You are also editing ${number(mine)} of them: the first to submit corrects them.` : "";
  return {
    text: `${owners.join(", ")} ${owners.length === 1 ? "is" : "are"} editing ${rows(here.length)} of these (✎).${both}`,
  };
}

function unread(progress) {
  const found = progress?.unreadable ?? [];
  if (!found.length) return null;
  const count = found.reduce((sum, one) => sum + one.rows, 0);
  return { look: "warn", text: `${rows(count)} can't be shown: ${found[0].problem} (run ${found[0].run_id})` };
}

function full(progress, draft, sheet) {
  if (!progress?.isFull) return null;
  const hidden = [...draft.known.values()].filter((one) => draft.isHere(one) && !sheet.row(idOf(one.run, one.row)));
  const also =
    hidden.length && ` You have edited ${rows(hidden.length)} of the others elsewhere; Submit also sends those.`;
  return {
    text: `These are the oldest ${number(MOST_ROWS)} rows. The others follow once some of these are corrected or discarded. To edit others now, choose their reason above.${also || ""}`,
  };
}

function objects({ objects: names }, isReadOnly) {
  if (!names.size || isReadOnly) return null;
  const [first, ...others] = names;
  const which = others.length ? `${first} and ${counted(others.length, "other column")} hold` : `${first} holds`;
  return {
    text: `${which} objects or lists, which can't be edited here: download the rejects on the page of their run, correct them there, and send them from that page.`,
  };
}
