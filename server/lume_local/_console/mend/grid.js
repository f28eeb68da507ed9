// A table of thousands of editable rows, of which the page contains only the visible ones.
//
// Its `source` has `count`, `columns` ({name, label, width}), `cell(row, column)` ({text, look, title, canEdit}),
// `label(row)`, and `edit([{row, column, text}])`. Rows and columns are numbers here.

import { el, newId } from "../dom.js";
import { Cursor } from "./cursor.js";

const HEIGHT = 34; // of a row, in pixels, as in grid.css
const AROUND = 8; // rows above and below the visible ones

export class Grid {
  #drawn = new Map(); // the nodes of rows, by number
  #frame = 0;
  #editor = null;

  constructor(label, source) {
    this.source = source;
    this.cursor = new Cursor(source, () => this.draw());
    this.id = newId("grid");
    this.head = el("div", { role: "row", "aria-rowindex": 1, class: "sheet-row sheet-head" });
    this.body = el("div", { role: "rowgroup", class: "sheet-body" });
    this.node = el(
      "div.sheet",
      {
        role: "grid",
        tabindex: 0,
        "aria-label": label,
        "aria-multiselectable": "true",
        "aria-readonly": String(source.isReadOnly),
      },
      el("div", { role: "rowgroup", class: "sheet-top" }, this.head),
      this.body,
    );
    this.node.addEventListener("scroll", () => this.draw(), { passive: true });
    this.node.addEventListener("dblclick", () => this.begin());
    this.node.addEventListener("pointerdown", (event) => this.#pressed(event));
    this.node.addEventListener("pointermove", (event) => this.#dragged(event));
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  /** Updates the grid after a change of its columns or rows. */
  reset() {
    const { columns, count } = this.source;
    const widths = columns.map((column) => `${column.width}px`).join(" ");
    this.node.style.setProperty("--columns", widths);
    this.node.style.setProperty("--first", `${columns[0]?.width ?? 0}px`);
    this.node.setAttribute("aria-rowcount", count + 1);
    this.node.setAttribute("aria-colcount", columns.length);
    this.head.replaceChildren(
      ...columns.map((column, index) =>
        el(
          "div",
          { role: "columnheader", "aria-colindex": index + 1, class: "sheet-cell", title: column.label },
          column.label,
        ),
      ),
    );
    this.body.style.height = `${count * HEIGHT}px`;
    this.body.style.width = `${columns.reduce((sum, column) => sum + column.width, 0)}px`;
    this.cursor.fit();
    this.draw();
  }

  /** Redraws the visible rows with the next frame. */
  draw() {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #draw() {
    const first = Math.max(0, Math.floor(this.node.scrollTop / HEIGHT) - AROUND);
    const last = Math.min(
      this.source.count,
      Math.ceil((this.node.scrollTop + this.node.clientHeight) / HEIGHT) + AROUND,
    );
    const spare = [];
    for (const [row, node] of this.#drawn) {
      if (row >= first && row < last) continue;
      if (this.#editor?.row === row) this.#editor.end(true);
      this.#drawn.delete(row);
      spare.push(node);
    }
    for (let row = first; row < last; row++) {
      let node = this.#drawn.get(row);
      if (!node) {
        node = spare.pop() ?? el("div", { role: "row", class: "sheet-row" });
        this.#drawn.set(row, node);
      }
      if (this.#editor?.row !== row) this.#fill(node, row);
      if (node.parentNode !== this.body) this.body.append(node);
    }
    for (const node of spare) node.remove();
    const { row } = this.cursor;
    if (this.#drawn.has(row)) this.node.setAttribute("aria-activedescendant", `${this.id}-at`);
    else this.node.removeAttribute("aria-activedescendant");
  }

  #fill(node, row) {
    const { columns } = this.source;
    while (node.children.length < columns.length) node.append(el("div", { role: "gridcell" }));
    while (node.children.length > columns.length) node.lastChild.remove();
    node.setAttribute("aria-rowindex", row + 2);
    node.style.transform = `translateY(${row * HEIGHT}px)`;
    for (let column = 0; column < columns.length; column++) {
      const { text, look, title, canEdit } = this.source.cell(row, column);
      const cell = node.children[column];
      const isAt = this.cursor.isAt(row, column);
      const isIn = this.cursor.has(row, column);
      if (cell.textContent !== text) cell.textContent = text;
      cell.className = `sheet-cell ${look}${isIn ? " in" : ""}${isAt ? " at" : ""}`;
      cell.title = title ?? (text.length > 12 ? text : "");
      cell.setAttribute("aria-colindex", column + 1);
      cell.setAttribute("aria-selected", String(isIn));
      cell.setAttribute("aria-readonly", String(!canEdit));
      if (isAt) cell.id = `${this.id}-at`;
      else cell.removeAttribute("id");
    }
  }

  /** Scrolls to the cursor. */
  reveal() {
    const { row, column } = this.cursor;
    const top = row * HEIGHT;
    const high = this.node.clientHeight - this.head.offsetHeight;
    if (top < this.node.scrollTop) this.node.scrollTop = top;
    else if (top + HEIGHT > this.node.scrollTop + high) this.node.scrollTop = top + HEIGHT - high;
    const { columns } = this.source;
    const left = columns.slice(0, column).reduce((sum, one) => sum + one.width, 0);
    const sticky = columns[0]?.width ?? 0;
    if (column === 0 || left < this.node.scrollLeft + sticky) this.node.scrollLeft = left - sticky;
    else if (left + columns[column].width > this.node.scrollLeft + this.node.clientWidth)
      this.node.scrollLeft = left + columns[column].width - this.node.clientWidth;
    this.draw();
  }

  goTo(row, column) {
    this.cursor.set(row, column);
    this.reveal();
    this.node.focus({ preventScroll: true });
  }

  /** The number of rows in one page. */
  get page() {
    return Math.max(1, Math.floor(this.node.clientHeight / HEIGHT) - 2);
  }

  /** Edits the cursor's cell; `text` replaces its content. */
  begin(text = null) {
    const { row, column } = this.cursor;
    this.#draw();
    const cell = this.#drawn.get(row)?.children[column];
    const found = this.source.count && this.source.cell(row, column);
    if (!cell || !found.canEdit || this.#editor) return;
    const label = `${this.source.columns[column].label}, ${this.source.label(row)}`;
    this.#editor = editor(cell, found.value, text, label, (written, move) => {
      const isOver = document.activeElement === document.body || this.node.contains(document.activeElement);
      this.#editor = null;
      if (written !== null) this.source.edit([{ row, column, text: written }]);
      this.draw();
      if (move !== null || isOver) this.node.focus({ preventScroll: true });
      if (move) {
        this.cursor.move(...move);
        this.reveal();
      }
    });
    this.#editor.row = row;
  }

  get isEditing() {
    return this.#editor !== null;
  }

  #place(event) {
    const cell = document.elementFromPoint(event.clientX, event.clientY)?.closest("[role=gridcell]");
    if (!cell || !this.body.contains(cell)) return null;
    return [cell.parentNode.getAttribute("aria-rowindex") - 2, cell.getAttribute("aria-colindex") - 1];
  }

  #pressed(event) {
    const place = event.button === 0 && !event.target.closest("textarea") ? this.#place(event) : null;
    if (!place) return;
    const isAgain = this.cursor.isAt(...place);
    if (event.shiftKey) this.cursor.extend(...place);
    else this.cursor.set(...place);
    this.node.focus({ preventScroll: true });
    if (event.pointerType === "touch") {
      if (isAgain) this.begin(); // a phone has no keys to start editing
    } else event.preventDefault();
  }

  #dragged(event) {
    if (!(event.buttons & 1) || event.pointerType === "touch" || this.#editor) return;
    const place = this.#place(event);
    if (place && !this.cursor.isEnd(...place)) this.cursor.extend(...place);
  }
}

/**
 * Opens the field in a cell. `done` gets the text, null if it was cancelled or is unchanged, and the cursor's move,
 * null if the focus went elsewhere.
 */
function editor(cell, value, text, label, done) {
  const field = el("textarea.sheet-field", { rows: 1, "aria-label": label, spellcheck: "false" });
  field.value = value;
  const before = field.value; // as the field has it, which may change line ends
  if (text !== null) field.value = text;
  let isOver = false;

  function end(isWanted, move = null) {
    if (isOver) return;
    isOver = true;
    const written = isWanted && field.value !== before ? field.value : null;
    cell.replaceChildren();
    done(written, move);
  }

  field.addEventListener("keydown", (event) => {
    const move = { Enter: [event.shiftKey ? -1 : 1, 0], Tab: [0, event.shiftKey ? -1 : 1] }[event.key];
    if (event.isComposing || (event.key === "Enter" && event.altKey)) {
      if (event.altKey) field.setRangeText("\n", field.selectionStart, field.selectionEnd, "end");
    } else if (move) {
      event.preventDefault();
      end(true, move);
    } else if (event.key === "Escape") {
      event.preventDefault();
      end(false, [0, 0]);
    }
    event.stopPropagation();
  });
  field.addEventListener("blur", () => end(true));
  for (const name of ["copy", "cut", "paste", "dblclick"])
    field.addEventListener(name, (event) => event.stopPropagation());
  cell.replaceChildren(field);
  field.focus({ preventScroll: true });
  if (text === null) field.select();
  return { end };
}
