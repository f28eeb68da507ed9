// All flows with their versions.

import { get } from "./api.js";
import { bar } from "./charts.js";
import { el, refill } from "./dom.js";
import { number, percent, since } from "./format.js";
import { address, pager, table, tableRow } from "./parts.js";
import { ageOf, rejectedShare } from "./status.js";

const LIMIT = 100;
const COLUMNS = [
  ["Flow", "name"],
  ["Version", "name"],
  ["Description", "text"],
  ["Columns", "num"],
  ["Registered", "num"],
  ["Runs, 30 days", "num"],
  ["Rejected", "num"],
  ["Share", "bar-cell"],
];

export async function show({ query, signal }) {
  const node = el("div");
  const here = (changes) => address(["flows"], query, changes);

  async function load() {
    const [found, counts] = await Promise.all([
      get("/v1/flows", { limit: LIMIT, cursor: query.get("cursor") }, { signal }),
      get("/v1/statistics", { by: "flow_version", since: since(30 * 86400), limit: 10000 }, { signal }),
    ]);
    const known = new Map(counts.items.map((item) => [item.flow_version, item]));
    const rows = found.items.map((one, index) =>
      row(one, known.get(one.flow_version), found.items[index - 1]?.flow !== one.flow),
    );
    refill(
      node,
      el("h1", { tabindex: -1 }, "Flows"),
      rows.length
        ? el("section.card", table("Flow versions", COLUMNS, el("tbody", rows), "stacked flows"))
        : el("p.empty", "No flow version is registered."),
      pager(here, query.get("cursor"), found.next_cursor, ["First", "Next"]),
    );
  }
  await load();
  return { title: "Flows", node, update: load };
}

function row(one, count, isFirst) {
  const share = count ? rejectedShare(count) : 0;
  const href = address(["flows", one.flow], "", { version: one.version });
  const runs = () => el("a", { href: address(["runs"], "", { flow: one.flow_version }) }, number(count.runs));
  const cells = [
    isFirst ? el("strong", one.flow) : "",
    el("a", { href, "aria-label": one.flow_version }, one.version),
    one.description ?? "",
    number(one.columns.length),
    ageOf(one.created_at),
    count ? runs() : "0",
    count?.rows_rejected ? percent(share) : "–",
    bar(share, "partial"),
  ];
  return tableRow(COLUMNS, cells, isFirst && "first");
}
