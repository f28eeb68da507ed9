// The differences between two flow versions. Pure.

/** Compares the lines of two texts, null for none: [sign, line] each, with sign " ", "-" or "+". */
export function lines(before, after) {
  const [a, b] = [before, after].map((text) => text?.split("\n") ?? []);
  const longest = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      longest[i][j] = a[i] === b[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const found = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      found.push([" ", a[i]]);
      i++;
      j++;
    } else if (j >= b.length || (i < a.length && longest[i + 1][j] >= longest[i][j + 1]))
      found.push(["-", a[i++]]);
    else found.push(["+", b[j++]]);
  }
  return found;
}

/** Compares two versions by name: [name, before, after] of each difference; one side may be missing. */
export function changes(before, after) {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names]
    .map((name) => [name, before[name] ?? null, after[name] ?? null])
    .filter(([, one, other]) => one !== other);
}

/** Returns a flow version as text by name, for `changes`: columns, layouts, rules, source and outputs. */
export function described(definition) {
  const parts = {};
  for (const [name, column] of Object.entries(definition.columns)) parts[`column ${name}`] = text(column);
  for (const [name, layout] of Object.entries(definition.layouts ?? {}))
    parts[`layout ${name}`] = ofLayout(layout);
  for (const { name, ...rule } of definition.rules ?? []) parts[`rule ${name}`] = text(rule);
  for (const name of ["description", "source", "target", "rejects"])
    if (definition[name]) parts[name] = text(definition[name]);
  return parts;
}

/** Returns a layout as text, a line for each setting and each column. */
export function ofLayout({ match, source = {}, columns = {} }) {
  const under = (table, values) => Object.entries(values).map(([name, one]) => [`${table}.${name}`, one]);
  const lines = [...(match ? [["match", match]] : []), ...under("source", source), ...under("columns", columns)];
  return text(Object.fromEntries(lines));
}

function text(value) {
  if (typeof value !== "object") return String(value);
  return Object.entries(value)
    .map(([name, one]) => `${name} = ${typeof one === "string" ? one.trim() : JSON.stringify(one)}`)
    .join("\n");
}
