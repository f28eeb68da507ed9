// One flow: a version's columns and rules, its changes since another version, and its rejects over time.

import { all, get, path, save, saveAs } from "./api.js";
import { ratios } from "./charts.js";
import { changes, described, lines, ofLayout } from "./diff.js";
import { el } from "./dom.js";
import { counted, date, moment, number, percent, since } from "./format.js";
import { mapAddress } from "./map_upload.js";
import { actButton, address, pageHead, rowHead, select, table, wideCard } from "./parts.js";
import { rejectedShare } from "./status.js";
import { workbook } from "./xlsx.js";

const DAYS = 90;
const RECENT = 4; // days that are shown by the hour
const MOST_LINES = 6;
const MOST_ROWS = 100_000; // that a browser should hold
const MOST_RUNS = 10_000;

export async function show({ parts, query, signal }) {
  const flow = parts[1];
  const ask = (where, asked = {}) => get(where, asked, { signal });
  const found = await ask("/v1/flows", { flow, limit: 1000 });
  if (!found.items.length) throw new Error(`There is no flow ${flow}.`);
  const version = query.get("version") ?? found.items.at(-1).version;
  const index = found.items.findIndex((one) => one.version === version);
  if (index < 0) throw new Error(`There is no version ${version} of the flow ${flow}.`);
  const other = query.get("with") ?? found.items[index - 1]?.version ?? null;
  const definitionOf = async (one) => (await ask(path("flows", flow, "versions", one))).definition;
  const runs = found.items.reduce((all, one) => all + one.runs, 0);
  const [definition, before, counts, clean] = await Promise.all([
    definitionOf(version),
    other ? definitionOf(other) : null,
    ratioOverTime(flow, ask),
    // Counting looks at all runs.
    runs < MOST_RUNS ? ask(path("flows", flow, "table"), { limit: 1 }).catch((problem) => ({ problem })) : null,
  ]);
  const seen = definition.layouts ? await seenLayouts(flow, ask) : null;
  const here = (changed) => address(["flows", flow], query, changed);
  const shown = found.items[index];
  let chart = ratioCard(counts);
  const node = el(
    "article",
    header(shown, versions(found.items, version, here)),
    summary(shown, definition),
    clean && cleanRows(flow, clean),
    el(
      "div.columns",
      wideCard(`Columns of ${version}`, columnTable(shown.columns)),
      seen && wideCard("Layouts", layoutTable(definition.layouts, seen)),
      shown.rules.length > 0 && wideCard("Rules", ruleTable(shown.rules)),
      chart,
      found.items.length > 1 && difference(found.items, version, other, before, definition, here),
    ),
  );

  // A version never changes; only its runs do.
  async function update() {
    const now = ratioCard(await ratioOverTime(flow, ask));
    const details = now.querySelector("details");
    if (details) details.open = chart.querySelector("details")?.open ?? false;
    chart.replaceWith(now);
    chart = now;
  }
  return { title: `${flow}:${version}`, node, update };
}

function header(shown, tabs) {
  return pageHead(
    [el("a", { href: "#/flows" }, "Flows"), " /"],
    shown.flow,
    shown.description && el("p.lead", shown.description),
    [
      tabs,
      actButton("As .toml", () => saveFlow(shown)),
      el("a.button", { href: mapAddress(shown.flow) }, "Map a file …"),
    ],
  );
}

const saveFlow = ({ flow, version }) =>
  save(path("flows", flow, "versions", version), { name: `${flow}.${version}.toml`, Accept: "application/toml" });

function summary(shown, definition) {
  const most = definition.rejects?.max_ratio;
  return el(
    "p.muted.below",
    `Registered ${moment(shown.created_at)} · `,
    el("a", { href: address(["runs"], "", { flow: shown.flow_version }) }, counted(shown.runs, "run")),
    ` · reads ${definition.layouts ? counted(Object.keys(definition.layouts).length, "layout") : formatOf(definition)}`,
    most !== undefined && ` · at most ${percent(most)} rejected`,
  );
}

/** The current clean rows of all versions, or why they can't be read here. */
function cleanRows(flow, { rows, problem }) {
  if (problem) return el("p.muted", `Clean rows: ${problem.message}`);
  const save = async () =>
    saveAs(workbook(await all(path("flows", flow, "table"), { limit: 1000 })), `${flow}.xlsx`);
  const how = rows > MOST_ROWS ? el("code", `lume table ${flow} --to ${flow}.parquet`) : actButton("As .xlsx", save);
  return el("p", `${counted(rows, "clean row")} of all runs, each once. `, rows > 0 && how);
}

function ratioCard(counts) {
  const none = el("p.empty", `No runs in the last ${DAYS} days.`);
  return wideCard("Share of rejected rows", counts.length ? ratios(counts) : none);
}

function versions(items, version, here) {
  return el(
    "nav.tabs",
    { "aria-label": "Versions" },
    items.map((one) =>
      el(
        "a",
        { href: here({ version: one.version, with: null }), "aria-current": one.version === version && "page" },
        one.version,
      ),
    ),
  );
}

const formatOf = ({ source }) => source?.format ?? "csv";

/** The columns of the contract. With layouts, a column that only they read has no SQL of its own. */
function columnTable(columns) {
  const rows = columns.map((column) => [
    rowHead(column.name),
    [column.type, el("small.share", column.sql_type)],
    column.sql ? el("pre", column.sql.trim()) : el("span.muted", "by layout"),
    constraints(column),
  ]);
  return table("Columns", [["Column"], ["Type"], ["SQL"], ["Constraints"]], rows, "stacked");
}

const LAYOUTS = [
  ["Layout"],
  ["Format", "text"],
  ["Files", "num"],
  ["Rows", "num"],
  ["Rejected", "num"],
  ["Last seen", "num"],
  ["How it is read", "text"],
];

/** The layouts of a version; the figures are those of all versions, as a layout stays when others are added. */
function layoutTable(layouts, seen) {
  const rows = Object.entries(layouts).map(([name, layout]) => {
    const days = seen.get(name) ?? [];
    const sum = (field) => days.reduce((all, one) => all + one[field], 0);
    const [rows_read, rows_rejected] = [sum("rows_read"), sum("rows_rejected")];
    const match = [layout.match ?? []].flat();
    const how = match.length ? `files like ${match.join(", ")}` : "recognised by its names";
    return [
      rowHead(name),
      formatOf(layout),
      number(sum("files")),
      number(rows_read),
      [
        number(rows_rejected),
        rows_rejected > 0 && el("small.share", percent(rejectedShare({ rows_read, rows_rejected }))),
      ],
      days.length
        ? date(
            days
              .map(({ day }) => day)
              .sort()
              .at(-1),
          )
        : "never",
      el("details", el("summary", how), el("pre", { tabindex: 0 }, ofLayout(layout))),
    ];
  });
  return [
    table("Layouts", LAYOUTS, rows, "stacked labelled"),
    el("p.muted", `Files, rows and rejected rows are those of the last ${DAYS} days, of all versions.`),
  ];
}

/** What runs of the flow have read in each layout, by the day. */
async function seenLayouts(flow, ask) {
  const asked = { by: "layout,day", flow, since: since(DAYS * 86400), limit: 10000 };
  return Map.groupBy((await ask("/v1/statistics", asked)).items, ({ layout }) => layout);
}

function constraints(column) {
  const own = Object.entries(column.constraints).map(
    ([name, value]) => `${name} ${Array.isArray(value) ? value.join(", ") : value}`,
  );
  const all = [column.required && "required", column.unique && "unique", ...own].filter(Boolean);
  return all.map((text) => el("span.tag", text));
}

function ruleTable(rules) {
  const sql = (rule) => el("pre", rule.sql.trim());
  const rows = rules.map((rule) => [rowHead(rule.name), sql(rule), rule.on_fail ?? "reject", rule.message ?? ""]);
  return table("Rules", [["Rule"], ["SQL"], ["If it fails"], ["Message", "text"]], rows, "stacked");
}

/** [version, points] of the newest versions with runs: by the hour if all of them are recent, else by the day. */
async function ratioOverTime(flow, ask) {
  const statistics = async (unit, days) =>
    (
      await ask("/v1/statistics", { by: `flow_version,${unit}`, flow, since: since(days * 86400), limit: 10000 })
    ).items.map((item) => ({ ...item, time: item[unit] }));
  let items = await statistics("day", DAYS);
  if (new Set(items.map((item) => item.time)).size <= RECENT) items = await statistics("hour", RECENT);
  const series = new Map();
  for (const item of items) {
    if (!item.rows_read) continue;
    if (!series.has(item.flow_version)) series.set(item.flow_version, []);
    series.get(item.flow_version).push({ time: item.time, runs: item.runs, share: rejectedShare(item) });
  }
  return [...series].map(([name, points]) => [name.split(":")[1], points]).slice(-MOST_LINES);
}

const kindOf = (one, two) => (one === null ? "added" : two === null ? "removed" : "changed");
const SIGNS = { "+": "added", "-": "removed" };
const marked = ([sign, line]) => el("span", { class: SIGNS[sign] }, `${sign} ${line}\n`);

function difference(items, version, other, before, after, here) {
  const others = items.filter((one) => one.version !== version).map((one) => [one.version, one.version]);
  const options = other ? others : [["", "choose …"], ...others];
  const choose = select({ name: "with" }, options, other ?? "", (chosen) => {
    location.hash = here({ version, with: chosen });
  });
  const asked = el("label.field.inline", "Compared with", choose);
  const found = before ? changes(described(before), described(after)) : [];
  return wideCard(
    `Changes in ${version}`,
    asked,
    before && !found.length && el("p.empty", "Nothing."),
    found.map(changed),
  );
}

/** A difference of two versions, one of `changes`. */
export const changed = ([name, one, two]) =>
  el(
    "div.change",
    el("h3", name, el(`span.tag.${kindOf(one, two)}`, kindOf(one, two))),
    el("pre.diff", { tabindex: 0 }, lines(one, two).map(marked)),
  );
