// The rows in the grid: their order, their reasons or the flow's present verdict, and their cells.

import { isBlamed } from "../blame.js";
import { shortId } from "../format.js";
import { inLayout, labelOf, RAW, reasonsOf, textOf } from "./sheet.js";

const PLACE = { name: null, label: "Row", width: 104 };
const WHY = { name: null, label: "Why", width: 250 };
const NARROW = { PLACE: { ...PLACE, width: 76 }, WHY: { ...WHY, width: 170 } };
const LETTER = 8.2; // pixels, approximately
const MOST_OF_LAYOUT = 16; // letters
const SAMPLE = 300;
/** The states of rows that are not open, in words. */
export const STATES = {
  replaying: "is being submitted",
  mended: "was mended",
  replayed: "was replayed",
  discarded: "was discarded",
  superseded: "its source was read again",
  lost: "its rejects were removed",
};

export class Shown {
  rows = [];
  filter = "";

  constructor(sheet, draft, readings, isReadOnly) {
    Object.assign(this, { sheet, draft, readings, isReadOnly });
    this.columns = [PLACE, WHY];
  }

  get count() {
    return this.rows.length;
  }

  /** Chooses the rows to show and the widths of their columns. */
  choose() {
    const { sheet } = this;
    const chosen = {
      edited: (row) => sheet.isEdited(row),
      refused: (row) => sheet.isEdited(row) && row.why?.length > 0,
      passing: (row) => sheet.isEdited(row) && row.why?.length === 0,
      untouched: (row) => !sheet.isEdited(row),
    }[this.filter];
    this.rows = chosen ? sheet.rows.filter(chosen) : sheet.rows;
    const [place, why] = innerWidth < 640 ? [NARROW.PLACE, NARROW.WHY] : [PLACE, WHY];
    const longest = Math.max(...Object.keys(this.readings).map((layout) => layout.length));
    const file = sheet.rows.reduce((most, { identity }) => Math.max(most, identity._lume_file?.length ?? 0), 0);
    const more = [longest, file].reduce((all, one) => all + Math.min(Math.max(one, 0), MOST_OF_LAYOUT), 0);
    const width = Math.round(place.width + more * LETTER);
    this.columns = [{ ...place, width }, why, ...sheet.columns.map((name) => this.#column(name))];
  }

  #column(name) {
    const label = labelOf(name);
    let longest = label.length;
    for (const row of this.sheet.rows.slice(0, SAMPLE))
      longest = Math.max(longest, this.sheet.textOf(row, name).length);
    return { name, label, width: Math.round(Math.min(300, Math.max(88, longest * LETTER + 26))) };
  }

  /** Returns the column that a reason is about, if any; `at` if it is about several. */
  columnOf(reason, at) {
    const isMalformed = reason.startsWith("malformed line");
    const layouts = Object.keys(this.readings);
    const names = this.sheet.columns.filter((name) =>
      isMalformed ? name === RAW : layouts.some((layout) => isBlamed([reason], name, this.readings, layout)),
    );
    return names.includes(at) ? at : names[0];
  }

  indexOf = (name) => this.columns.findIndex((column) => column.name === name);

  label(row) {
    const { whole, run, layout, assignee, comment } = this.rows[row];
    const of = `${whole} of run ${shortId(run)}${layout ? `, layout ${layout}` : ""}`;
    return `${of}${assignee && `, assigned to ${assignee}`}${comment && `: ${comment}`}`;
  }

  cell(number, column) {
    const row = this.rows[number];
    if (column === 0) return this.#place(row, number);
    if (column === 1) return this.#why(row);
    const { name } = this.columns[column];
    const value = this.sheet.textOf(row, name);
    const canEdit = !this.isReadOnly && this.sheet.canEdit(row, name);
    const isEdited = name in row.cells;
    const looks = [
      isEdited && "edited",
      !(name in row.values) && !isEdited && "absent",
      isBlamed(reasonsOf(row), name, this.readings, row.layout) && "blamed",
    ];
    const text = value.replaceAll("\n", "↵");
    const title = isEdited ? `${value}\nbefore: ${textOf(row.values[name])}` : undefined;
    return { text, value, canEdit, title, look: looks.filter(Boolean).join(" ") };
  }

  #place(row, number) {
    const other = this.draft.elsewhere.get(row.id);
    const who = `${other ? " ✎" : ""}${row.assignee && ` @${row.assignee}`}${row.comment && " ✉"}`;
    const text = `${inLayout(row.place, row)}${who}`;
    const also = other ? `, also edited by ${other.owner}` : "";
    return { text, value: text, canEdit: false, look: "fixed", title: `${this.label(number)}${also}` };
  }

  #why(row) {
    const { text, look } = this.#verdict(row);
    return { text, value: text, canEdit: false, title: text, look };
  }

  #verdict(row) {
    if (row.state !== "open") return { text: STATES[row.state] ?? row.state, look: "waits" };
    if (!this.sheet.isEdited(row)) return { text: row.reasons.join(" · "), look: "why" };
    if (row.why === null) return { text: "…", look: "waits" };
    return row.why.length
      ? { text: row.why.join(" · "), look: "why" }
      : { text: "✓ would be accepted", look: "passes" };
  }

  /** Applies changes of the grid to the sheet. */
  edit(changes) {
    if (this.isReadOnly) return 0;
    const found = changes
      .filter(({ column }) => this.columns[column].name !== null)
      .map(({ row, column, text }) => ({ row: this.rows[row], name: this.columns[column].name, text }));
    return this.edited(found);
  }

  /** Called after each edit by a person; `Tools` then offers the same for other rows. */
  edited = (changes) => this.sheet.edit(changes);
}
