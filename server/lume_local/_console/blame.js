// The columns of a rejected row that its reasons are about.

import { get, path } from "./api.js";

/** Returns the SQL of each column of a flow version: reasons name these columns, rejected rows have the source's. */
export async function columnsOf(reference, signal) {
  const [flow, version] = reference.split(":");
  const { definition } = await get(path("flows", flow, "versions", version), {}, { signal }).catch(() => ({
    definition: { columns: {} },
  }));
  return readBy(definition);
}

/** Returns the SQL that reads each column of a flow: its expression, and the names that sources have for it. */
export function readBy({ columns }) {
  const quoted = (name) => `"${name.replaceAll('"', '""')}"`;
  const read = (name, { from = [], sql }) => {
    const aliases = Array.isArray(from) ? from : from.first;
    return [sql, ...aliases.map(quoted), (!sql || aliases.length) && quoted(name)].filter(Boolean).join(" ");
  };
  return Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, read(name, column)]));
}

/** Returns whether one of the reasons names a flow column that reads this column of the source. */
export function isBlamed(reasons, name, flowColumns) {
  const expressions = reasons.map((reason) => flowColumns[reason.split(":")[0]]);
  return expressions.some((sql) => sql && reads(sql, name));
}

/** Returns whether an SQL expression reads a column of the source. */
function reads(sql, name) {
  const text = sql.toLowerCase();
  const column = name.toLowerCase();
  return (
    text.includes(`"${column.replaceAll('"', '""')}"`) ||
    (/^[a-z_]\w*$/.test(column) && new RegExp(`\\b${column}\\b`).test(text))
  );
}
