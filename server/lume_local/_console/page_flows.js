// All flows with their versions.

import { get } from "./api.js";
import { bar } from "./charts.js";
import { el, refill } from "./dom.js";
import { number, percent, since } from "./format.js";
import { address, cell, pager, table } from "./parts.js";
import { ageOf, rejectedShare } from "./status.js";

const LIMIT = 100;
const COLUMNS = [
  ["Flow"],
  ["Version"],
  ["Description"],
  ["Columns", "num"],
  ["Registered", "num"],
  ["Runs, 30 days", "num"],
  ["Rejected", "num"],
  ["Share", "bar-cell"],
];

export async function show({ query, signal }) {
  const node = el("div", {});
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
        ? el("section", { class: "card" }, table("Flow versions", COLUMNS, rows, "stacked flows"))
        : el("p", { class: "empty" }, "No flow version is registered."),
      pager(here, query.get("cursor"), found.next_cursor, ["First", "Next"]),
    );
  }
  await load();
  return { title: "Flows", node, update: load };
}

function row(one, count, isFirst) {
  const share = count ? rejectedShare(count) : 0;
  return el(
    "tr",
    { class: isFirst ? "first" : "" },
    cell("name", isFirst ? el("strong", {}, one.flow) : ""),
    cell(
      "name",
      el(
        "a",
        { href: address(["flows", one.flow], "", { version: one.version }), "aria-label": one.flow_version },
        one.version,
      ),
    ),
    cell("text", one.description ?? ""),
    cell("num", number(one.columns.length)),
    cell("num", ageOf(one.created_at)),
    cell(
      "num",
      count ? el("a", { href: address(["runs"], "", { flow: one.flow_version }) }, number(count.runs)) : "0",
    ),
    cell("num", count?.rows_rejected ? percent(share) : "–"),
    cell("bar-cell", bar(share, "partial")),
  );
}
