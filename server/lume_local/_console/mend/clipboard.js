// Tables in the clipboard format of spreadsheets: tabs between cells, quotes around those that need them.

/** Parses a text as a table. */
export function tableOf(text) {
  const lines = [[]];
  for (let at = 0; ;) {
    const [value, length] = fieldAt(text, at);
    lines.at(-1).push(value);
    at += length;
    if (at >= text.length) return lines;
    const end = text.startsWith("\r\n", at) ? "\r\n" : text[at];
    at += end.length;
    if (end === "\t") continue;
    if (at >= text.length) return lines; // a final line end does not start another line
    lines.push([]);
  }
}

/** Returns the cell that starts at a position, and its length. */
function fieldAt(text, at) {
  const quoted = /"((?:[^"]|"")*)"(?=[\t\r\n]|$)/y;
  const plain = /[^\t\r\n]*/y;
  quoted.lastIndex = plain.lastIndex = at;
  const found = quoted.exec(text);
  if (found) return [found[1].replaceAll('""', '"'), found[0].length];
  const [value] = plain.exec(text);
  return [value, value.length];
}

export function textOf(lines, mark = "\t") {
  const field = (value) =>
    value.includes(mark) || /["\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  return lines.map((line) => line.map(field).join(mark)).join("\n");
}

const FORMULA = /^[=+\-@\t\r]/;
const NUMBER = /^[+-]?(\d[\d., ]*|\.\d+)(e[+-]?\d+)?%?$/i;

/** Adds an apostrophe before formulas, like `lume rejects --no-formulas`; `fused` removes it. */
export const defused = (value) => (FORMULA.test(value) && !NUMBER.test(value) ? `'${value}` : value);

export const fused = (value) => (value.startsWith("'") && FORMULA.test(value.slice(1)) ? value.slice(1) : value);
