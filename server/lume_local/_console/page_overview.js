// Recent events, the worst problems, and the work for people.

import { get } from "./api.js";
import { bar, hours } from "./charts.js";
import { el, refill } from "./dom.js";
import { cut, number, percent, shortId, since, sourceName } from "./format.js";
import { card, figure, figures, flowLink, rejectedFigure, table } from "./parts.js";
import { ACTIVE, ageOf, badge, reasonsOf, rejectedShare } from "./status.js";

const HOURS = 48;
const ABOVE = 0.05;
const TOP = 8;
const WORST = [
  ["Flow", "name"],
  ["Runs", "num"],
  ["Rejected", "num"],
  ["Share", "num"],
  ["Compared", "bar-cell"],
];

export async function show({ signal }) {
  const node = el("div");
  async function load() {
    const from = since((HOURS - 1) * 3600);
    const ask = (where, query) => get(where, query, { signal });
    const [byHour, worst, waiting, active] = await Promise.all([
      ask("/v1/statistics", { by: "hour,status", since: from }),
      ask("/v1/statistics", { by: "flow_version", since: since(30 * 86400), order: "rejected", limit: TOP }),
      ask("/v1/runs", { attention: ABOVE, limit: TOP }),
      ask("/v1/runs", { status: ACTIVE.join(","), limit: TOP }),
    ]);
    const isOpen = node.querySelector("details")?.open;
    refill(
      node,
      el("h1", { tabindex: -1 }, "Overview"),
      totals(byHour.items),
      card(`Runs per hour, last ${HOURS} hours`, hours(byHour.items, HOURS)),
      el("div.columns", attention(waiting), el("div.stack", now(active), flows(worst.items))),
    );
    if (isOpen) node.querySelector("details").open = true;
  }
  await load();
  return { title: "Overview", node, update: load };
}

function totals(items) {
  const sum = (name, list = items) => list.reduce((sum, item) => sum + item[name], 0);
  const count = (...statuses) =>
    sum(
      "runs",
      items.filter((item) => statuses.includes(item.status)),
    );
  const [active, broken] = [count(...ACTIVE), count("FAILED", "CRASHED")];
  return figures(
    figure("Runs", number(sum("runs"))),
    figure("Active", number(active), active ? "active" : ""),
    figure("Failed or crashed", number(broken), broken ? "failed" : ""),
    figure("Rows read", number(sum("rows_read"))),
    rejectedFigure("Rows rejected", { rows_read: sum("rows_read"), rows_rejected: sum("rows_rejected") }),
  );
}

function attention({ items, next_cursor: next }) {
  const title = "Waits for a person";
  if (!items.length) return card(title, el("p.empty", "Nothing. Every source's last run is fine."));
  const about = (run) => [
    el(
      "p.muted",
      el("span.mono", shortId(run.id)),
      ` · ${run.flow_version} · `,
      ageOf(run.finished_at ?? run.created_at),
    ),
    el("p", why(run)),
  ];
  return runs(title, items, about, next && `#/runs?attention=${ABOVE}`);
}

/** Running and queued runs. */
function now({ items, next_cursor: next }) {
  if (!items.length) return null;
  const about = (run) => el("p.muted", run.flow_version, " · ", ageOf(run.created_at));
  return runs("Active now", items, about, next && `#/runs?status=${ACTIVE.join(",")}`);
}

/** A short list of runs with a remark on each, and a link to all of them. */
function runs(title, items, about, more) {
  const line = (run) =>
    el(
      "li",
      el(
        "a",
        { href: `#/runs/${run.id}`, class: "main" },
        badge(run),
        el("span.path", sourceName(run)),
      ),
      about(run),
    );
  return card(title, el("ul.list", items.map(line)), more && el("p", el("a", { href: more }, "All of them")));
}

function why(run) {
  const { metrics, error_message: message } = run.metadata;
  if (message) return cut(message, 160);
  const [[reason] = []] = reasonsOf(metrics);
  const share = `${percent(rejectedShare(metrics))} of ${number(metrics.rows_read)} rows rejected`;
  return reason ? `${share}, most often: ${cut(reason, 120)}` : share;
}

function flows(items) {
  const bad = items.filter((item) => item.rows_rejected > 0);
  if (!bad.length) return card("Worst flows, last 30 days", el("p.empty", "No row was rejected."));
  const worst = rejectedShare(bad[0]);
  const rows = bad.map((item) => [
    flowLink(item.flow_version),
    number(item.runs),
    number(item.rows_rejected),
    percent(rejectedShare(item)),
    bar(rejectedShare(item) / worst, "partial"),
  ]);
  return card("Worst flows, last 30 days", table("Worst flows", WORST, rows));
}
