// Which columns of a rejected row its reasons are about.

import { get, path } from "./api.js";

/** The SQL of each column of a flow version: a reason names such a column, a rejected row has those of its source. */
export async function columnsOf(reference, signal) {
  const [flow, version] = reference.split(":");
  const { definition } = await get(path("flows", flow, "versions", version), {}, { signal }).catch(() => ({
    definition: { columns: {} },
  }));
  return readBy(definition);
}

/** What each of the flow's columns is read by, in SQL: its expression, and the names that sources have for it. */
export function readBy({ columns }) {
  const quoted = (name) => `"${name.replaceAll('"', '""')}"`;
  const read = (name, { from = [], sql }) => {
    const aliases = Array.isArray(from) ? from : from.first;
    return [sql, ...aliases.map(quoted), (!sql || aliases.length) && quoted(name)].filter(Boolean).join(" ");
  };
  return Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, read(name, column)]));
}

/** Whether one of the reasons names a column of the flow that reads this column of the source. */
export function isBlamed(reasons, name, flowColumns) {
  const expressions = reasons.map((reason) => flowColumns[reason.split(":")[0]]);
  return expressions.some((sql) => sql && reads(sql, name));
}

/** Whether an SQL expression reads a column of the source. */
function reads(sql, name) {
  const text = sql.toLowerCase();
  const column = name.toLowerCase();
  return (
    text.includes(`"${column.replaceAll('"', '""')}"`) ||
    (/^[a-z_]\w*$/.test(column) && new RegExp(`\\b${column}\\b`).test(text))
  );
}
