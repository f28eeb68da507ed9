// Tables as spreadsheets have them in the clipboard: tabs between cells, quotes around those that need them.

/** The table of a text. */
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
    if (at >= text.length) return lines; // a line end at the end begins no line
    lines.push([]);
  }
}

/** The cell that begins there, and how long it is. */
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

/** With an apostrophe before what a spreadsheet would calculate, as `lume rejects --no-formulas` does; `fused` takes it off. */
export const defused = (value) => (FORMULA.test(value) && !NUMBER.test(value) ? `'${value}` : value);

export const fused = (value) => (value.startsWith("'") && FORMULA.test(value.slice(1)) ? value.slice(1) : value);
