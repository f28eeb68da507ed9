// The input field for a cell of a grid.

import { el } from "../dom.js";

/**
 * Opens the field in a cell. `done` gets the text, null if it was cancelled or is unchanged, and the cursor's move,
 * null if the focus went elsewhere.
 */
export function editor(cell, value, text, label, done) {
  const field = el("textarea", { class: "sheet-field", rows: 1, "aria-label": label, spellcheck: "false" });
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
