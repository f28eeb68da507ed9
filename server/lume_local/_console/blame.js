// The columns of a rejected row that its reasons are about.

import { get, path } from "./api.js";

/** Returns what `readBy` does for a registered version; nothing if it can't be had. */
export async function columnsOf(reference, signal) {
  const [flow, version] = reference.split(":");
  const { definition } = await get(path("flows", flow, "versions", version), {}, { signal }).catch(() => ({
    definition: { columns: {} },
  }));
  return readBy(definition);
}

const quoted = (name) => `"${name.replaceAll('"', '""')}"`;
const each = (found, change) =>
  Object.fromEntries(Object.entries(found).map(([name, one]) => [name, change(one, name)]));

/**
 * Returns the SQL that reads each column of a flow version, by layout: its expression, and the names that sources have for
 * it. A version without layouts has the one that is called "". Reasons name these columns, rejected rows have the source's.
 */
export function readBy({ columns, layouts }) {
  const read = ({ from = [], sql }, own) => {
    const names = Array.isArray(from) ? from : from.first;
    return [sql, ...names.map(quoted), own && (!sql || names.length) && quoted(own)].filter(Boolean).join(" ");
  };
  const contract = each(columns, (column, name) => read(column, layouts ? null : name));
  if (!layouts) return { "": contract };
  const reading = (one) => (typeof one === "string" ? one : read(one, null));
  return each(layouts, ({ columns: own = {} }) => ({ ...contract, ...each(own, reading) }));
}

/** Returns whether one of the reasons names a flow column that reads this column of the source. */
export function isBlamed(reasons, name, readings, layout) {
  const columns = readings[layout ?? ""] ?? readings[""] ?? {};
  const expressions = reasons.map((reason) => columns[reason.split(":")[0]]);
  return expressions.some((sql) => sql && reads(sql, name));
}

/** Returns a function that takes the empty columns of other layouts out of a rejected row. */
export function ownColumns(readings) {
  const known = new Map();
  const isRead = (layout, name) => {
    const key = JSON.stringify([layout, name]);
    if (!known.has(key))
      known.set(
        key,
        Object.values(readings[layout]).some((sql) => reads(sql, name)),
      );
    return known.get(key);
  };
  return (row) => {
    const layout = row._lume_layout ?? "";
    if (!layout || !(layout in readings)) return row;
    const isOwn = ([name, value]) => value !== null || name.startsWith("_lume_") || isRead(layout, name);
    return Object.fromEntries(Object.entries(row).filter(isOwn));
  };
}

/** Returns whether an SQL expression reads a column of the source. */
function reads(sql, name) {
  const text = sql.toLowerCase();
  const column = name.toLowerCase();
  const bare = text.replace(/"(?:[^"]|"")*"|'(?:[^']|'')*'/g, " ");
  return (
    text.includes(quoted(column)) ||
    sql.includes(`"${name}.`) || // an object, whose member is read
    (/^[a-z_]\w*$/.test(column) && new RegExp(`\\b${column}\\b`).test(bare))
  );
}
