// Tools to edit many rows: undo, fill down, find and replace, and the same change for all rows with the same value.

import { el, fill } from "../dom.js";
import { counted, cut } from "../format.js";
import { saveAs } from "../api.js";
import { notice, select } from "../parts.js";
import { workbook } from "../xlsx.js";
import { assigner } from "./assign.js";
import { clusterer } from "./clusters.js";
import { discarder } from "./discard.js";
import { finder } from "./find.js";
import { ruler } from "./rule.js";
import { reasonsOf } from "./sheet.js";
import { suggester } from "./suggest.js";
import { tell } from "./told.js";

const FILTERS = [
  ["", "All rows"],
  ["edited", "Edited"],
  ["passing", "Would be accepted"],
  ["refused", "Edited, still rejected"],
  ["untouched", "Not edited"],
];

export class Tools {
  /** `discarded` receives the rows that have left the inbox. */
  constructor(sheet, shown, grid, draft, discarded) {
    Object.assign(this, { sheet, shown, grid, draft, discarded });
    this.panel = el("div");
    this.offer = el("div");
    this.node = shown.isReadOnly ? this.#readOnly() : this.#all();
    shown.edited = (changes) => this.#edited(changes);
  }

  #readOnly() {
    return el("div.tools", this.#show(), this.#export());
  }

  #all() {
    const button = (name, click, key) => el("button", { title: key, on: { click } }, name);
    this.undoing = button("Undo", () => this.undo(), "Ctrl+Z");
    this.redoing = button("Redo", () => this.redo(), "Ctrl+Y");
    return el(
      "div",
      el(
        "div.tools",
        { role: "toolbar", "aria-label": "Edit rows" },
        this.undoing,
        this.redoing,
        button("Fill down", () => this.fillDown(), "Ctrl+D"),
        button("Find and replace …", () => this.#open(finder)),
        button("Similar values …", () => this.#open(clusterer)),
        button("Suggest …", () => this.#open(suggester)),
        button("Save as a rule …", () => this.#open(ruler)),
        button("Assign rows …", () => this.#open(assigner)),
        button("Discard rows …", () => this.#open(discarder)),
        button("Remove my edits …", () => this.#askDrop()),
        this.#export(),
        this.#show(),
      ),
      this.panel,
      this.offer,
    );
  }

  #show() {
    return select({ "aria-label": "Rows that are shown" }, FILTERS, this.shown.filter, (filter) => {
      this.shown.filter = filter;
      this.shown.choose();
      this.grid.reset();
    });
  }

  #export() {
    const click = () => {
      try {
        const { sheet } = this;
        const rows = this.shown.rows.map((row) => ({
          ...row.identity, // by which the run takes them back
          _lume_run: row.run,
          _lume_reject: row.reject,
          ...(row.layout && { _lume_layout: row.layout }),
          _lume_reasons: reasonsOf(row),
          ...Object.fromEntries(sheet.columns.map((name) => [name, sheet.valueOf(row, name)])),
        }));
        saveAs(workbook(rows), "rejects.xlsx"); // every cell is a text, so none is a formula
      } catch (error) {
        notice(error.message, true);
      }
    };
    return el("button", { on: { click } }, "As .xlsx");
  }

  changed() {
    if (!this.undoing) return;
    this.undoing.disabled = !this.sheet.canUndo();
    this.redoing.disabled = !this.sheet.canRedo();
  }

  undo = () => this.#shows(this.sheet.undo());
  redo = () => this.#shows(this.sheet.redo());

  /** Moves the cursor to an undone or redone change. */
  #shows(change) {
    fill(this.offer);
    if (!change) return;
    const row = this.shown.rows.indexOf(change.row);
    const column = this.shown.indexOf(change.name);
    if (row >= 0 && column >= 0) this.grid.goTo(row, column);
  }

  /** Fills the selection with its first cell; a single cell gets the value above it. */
  fillDown() {
    const [top, bottom, left, right] = this.grid.cursor.area;
    const from = top === bottom ? top - 1 : top;
    if (from < 0) return;
    const changes = [];
    for (let column = left; column <= right; column++)
      for (let row = from + 1; row <= bottom; row++)
        changes.push({ row, column, text: this.shown.cell(from, column).value });
    this.shown.edit(changes);
  }

  #open(make) {
    const isOpen = this.panel.firstChild?.kind === make;
    fill(this.panel);
    if (isOpen) return;
    const node = make(this, () => {
      fill(this.panel);
      this.grid.node.focus();
    });
    node.kind = make;
    fill(this.panel, node);
    node.querySelector("input, select, button")?.focus();
  }

  /** Offers the same edit for other rows with the value before. */
  #edited(changes) {
    const [only] = changes;
    const before = changes.length === 1 ? this.sheet.textOf(only.row, only.name) : "";
    const count = this.sheet.edit(changes);
    fill(this.offer);
    if (count !== 1 || before === "") return count;
    const alike = this.sheet.alike(only.row, only.name, before);
    if (alike.length) this.#offer(only, before, alike);
    return count;
  }

  #offer({ name, text }, before, alike) {
    const apply = () => {
      fill(this.offer);
      // Only rows that still have the value.
      const rows = alike.filter((row) => this.sheet.textOf(row, name) === before);
      notice(`${counted(this.sheet.edit(rows.map((row) => ({ row, name, text }))), "row")} changed.`);
      this.grid.node.focus();
    };
    const others = `${counted(alike.length, "other row")} ${alike.length === 1 ? "has" : "have"}`;
    const buttons = [
      [`Change all to ${quoted(text)}`, apply],
      ["No", () => fill(this.offer), "quiet"],
    ];
    fill(this.offer, tell(`${others} ${quoted(before)} in ${name}.`, "", buttons));
  }

  async #askDrop() {
    const { reason, counts } = this.draft;
    const count = counts.get(reason).edited;
    if (!count && !this.draft.unsent) return notice("There are no edits.");
    const remove = async () => {
      fill(this.panel);
      await this.draft.drop().catch((error) => notice(error.message, true));
    };
    const text = `Remove your edits of ${counted(count, "row")} of this ${reason === null ? "flow" : "reason"}? The rows stay open.`;
    const buttons = [
      ["Remove them", remove, "danger"],
      ["Back", () => fill(this.panel)],
    ];
    return fill(this.panel, tell(text, "warn", buttons));
  }
}

const LONGEST = 40;
const quoted = (text) => (text === "" ? "nothing" : `“${cut(text, LONGEST)}”`);
