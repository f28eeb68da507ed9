// Keyboard and clipboard of a grid, as in a spreadsheet.

import { defused, fused, tableOf, textOf } from "./clipboard.js";

const FAR = 1e9;
const MOVES = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

/** `tools` has `undo`, `redo`, and `fillDown`. */
export function listen(grid, tools) {
  const { cursor, source } = grid;

  function moved(event) {
    const far = event.ctrlKey || event.metaKey;
    const page = { PageUp: [-grid.page, 0], PageDown: [grid.page, 0] }[event.key];
    const edge = { Home: [far ? -FAR : 0, -FAR], End: [far ? FAR : 0, FAR] }[event.key];
    const step = page ?? edge ?? MOVES[event.key]?.map((n) => n * (far ? FAR : 1));
    if (!step) return false;
    if (event.shiftKey) cursor.stretch(...step);
    else cursor.move(...step);
    grid.reveal();
    return true;
  }

  function commanded(event) {
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return false;
    const key = event.key.toLowerCase();
    if (key === "z") (event.shiftKey ? tools.redo : tools.undo)();
    else if (key === "y") tools.redo();
    else if (key === "d") tools.fillDown();
    else if (key === "a") cursor.wholeColumns();
    else return false;
    return true;
  }

  function written(event) {
    if (event.key === "Enter" || event.key === "F2") grid.begin();
    else if (event.key === "Delete" || event.key === "Backspace") clear();
    else if (event.key.length === 1 && !event.ctrlKey && !event.metaKey) grid.begin(event.key);
    else return false;
    return true;
  }

  function clear() {
    source.edit(cells(cursor.area).map((cell) => ({ ...cell, text: "" })));
  }

  grid.node.addEventListener("keydown", (event) => {
    if (grid.isEditing || event.isComposing || !source.count) return;
    if (moved(event) || commanded(event) || written(event)) event.preventDefault();
  });

  grid.node.addEventListener("copy", (event) => {
    event.clipboardData.setData("text/plain", copied(cursor.area, source));
    event.preventDefault();
  });

  grid.node.addEventListener("cut", (event) => {
    event.clipboardData.setData("text/plain", copied(cursor.area, source));
    event.preventDefault();
    clear();
  });

  grid.node.addEventListener("paste", (event) => {
    event.preventDefault();
    paste(
      grid,
      tableOf(event.clipboardData.getData("text/plain")).map((line) => line.map(fused)),
    );
  });
}

function cells([top, bottom, left, right]) {
  const found = [];
  for (let row = top; row <= bottom; row++)
    for (let column = left; column <= right; column++) found.push({ row, column });
  return found;
}

function copied([top, bottom, left, right], source) {
  const lines = [];
  for (let row = top; row <= bottom; row++) {
    const line = [];
    for (let column = left; column <= right; column++) line.push(defused(source.cell(row, column).value));
    lines.push(line);
  }
  return textOf(lines);
}

/** Pastes one value into all selected cells, or a table from the cursor on. */
function paste(grid, table) {
  const { cursor, source } = grid;
  const [top, bottom, left, right] = cursor.area;
  if (table.length === 1 && table[0].length === 1) {
    source.edit(cells(cursor.area).map((cell) => ({ ...cell, text: table[0][0] })));
    return;
  }
  const times = (bottom - top + 1) % table.length === 0 ? (bottom - top + 1) / table.length : 1;
  const lines = Array.from({ length: Math.max(1, times) }, () => table).flat();
  const changes = lines.flatMap((line, down) =>
    line.map((text, across) => ({ row: top + down, column: left + across, text })),
  );
  source.edit(changes.filter(({ row, column }) => row < source.count && column < source.columns.length));
  cursor.set(top, left);
  cursor.extend(top + lines.length - 1, Math.max(right, left + table[0].length - 1));
}
