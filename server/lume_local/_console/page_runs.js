// All runs: a table with filters and pages. It holds one page of rows, however many there are.

import { get } from "./api.js";
import { el, newId, reconcile } from "./dom.js";
import { duration, number, percent, secondsBetween, since, sourceName } from "./format.js";
import { latest } from "./latest.js";
import { address, flowLink, pager, runLink, select, table, tableRow } from "./parts.js";
import { ACTIVE, ageOf, badge, isActive, nameOf, rejectedShare } from "./status.js";

const LIMIT = 50;
const ABOVE = "0.05";
const POLL = 2000;
const STATUSES = [
  ["Active", ACTIVE],
  ...["SUCCEEDED", "PARTIAL_FAILED", "FAILED", "CRASHED", "CANCELLED"].map((one) => [nameOf(one), [one]]),
];
const AGES = [
  ["", "Any time"],
  ["3600", "Last hour"],
  ["86400", "Last day"],
  ["604800", "Last 7 days"],
  ["2592000", "Last 30 days"],
];
const COLUMNS = [
  ["Status"],
  ["Run"],
  ["Flow"],
  ["Source", "path"],
  ["Read", "num"],
  ["Mapped", "num"],
  ["Rejected", "num"],
  ["Share", "num"],
  ["Duration", "num"],
  ["Created", "num"],
];

export async function show({ query, signal }) {
  const body = el("tbody");
  const none = query.size ? "No run matches these filters." : "There is no run yet.";
  const empty = el("p.empty", { hidden: true }, none);
  const below = el("div");
  const here = (changes) => address(["runs"], query, changes);

  function draw(found) {
    reconcile(body, found.items, (run) => run.id, row);
    empty.hidden = found.items.length > 0;
    below.replaceChildren(...[pager(here, query.get("cursor"), found.next_cursor)].filter(Boolean));
  }
  // The feed reports changes of status; progress has to be polled.
  const again = (found) => found.items.some((run) => isActive(run) && run.status !== "CREATED");
  const load = latest(() => get("/v1/runs", asked(query), { signal }), draw, { again, time: POLL, signal });

  await load();
  return {
    title: "Runs",
    node: el(
      "div",
      el("h1", { tabindex: -1 }, "Runs"),
      await filters(query, here, signal),
      el("section.card", table("Runs, newest first", COLUMNS, body, "stacked"), empty, below),
    ),
    update: load,
  };
}

/** Converts the page's query to that of the contract. */
function asked(query) {
  const flow = query.get("flow");
  return {
    [flow?.includes(":") ? "flow_version" : "flow"]: flow,
    source: query.get("source"),
    submitted_by: query.get("by"),
    status: query.get("status"),
    since: query.get("since") && since(Number(query.get("since"))),
    attention: query.get("attention"),
    cursor: query.get("cursor"),
    limit: LIMIT,
  };
}

function row(run) {
  const { metrics } = run.metadata;
  const ended = run.finished_at;
  const share = metrics.rows_rejected ? percent(rejectedShare(metrics)) : "";
  const counts = [metrics.rows_read, metrics.rows_mapped, metrics.rows_rejected].map(number);
  const cells = [
    badge(run),
    runLink(run.id),
    flowLink(run.flow_version),
    el("a", { href: `#/runs/${run.id}` }, sourceName(run)),
    ...(ended ? [...counts, share] : ["", "", "", ""]),
    run.started_at && ended ? duration(secondsBetween(run.started_at, ended)) : "",
    ageOf(run.created_at),
  ];
  return tableRow(COLUMNS, cells, "run");
}

async function filters(query, here, signal) {
  const list = newId("flows");
  const known = await get("/v1/flows", { limit: 200 }, { signal }).catch(() => ({ items: [] }));
  const names = [...new Set(known.items.flatMap((one) => [one.flow, one.flow_version]))];
  const change = (changes) => {
    location.hash = here({ cursor: null, ...changes });
  };
  const ages = select({ name: "since" }, AGES, query.get("since") ?? "", (since) => change({ since }));
  return el(
    "form.filters",
    {
      role: "search",
      "aria-label": "Filter runs",
      on: { submit: (event) => event.preventDefault() },
    },
    field("Flow", "flow", query, change, { list, placeholder: "all" }),
    el(
      "datalist",
      { id: list },
      names.map((name) => el("option", { value: name })),
    ),
    field("Source contains", "source", query, change, { type: "search" }),
    field("Submitted by", "by", query, change, { placeholder: "any key" }),
    el("label.field", "Created", ages),
    statuses(query, change),
    chip("Needs attention", "attention", query.has("attention"), (isOn) =>
      change({ attention: isOn ? ABOVE : null }),
    ),
  );
}

function field(label, name, query, change, more) {
  const changed = (event) => change({ [name]: event.target.value.trim() });
  const value = query.get(name) ?? "";
  const input = el("input", {
    name,
    value,
    autocomplete: "off",
    spellcheck: "false",
    ...more,
    on: { change: changed },
  });
  return el("label.field", label, input);
}

function chip(label, name, checked, changed) {
  const input = el("input", {
    type: "checkbox",
    name,
    checked,
    on: { change: (event) => changed(event.target.checked) },
  });
  return el("label.chip", input, label);
}

/** A chip for each group of statuses; selecting none means all. */
function statuses(query, change) {
  const wanted = new Set((query.get("status") ?? "").split(",").filter(Boolean));
  const toggle = (group, isOn) => {
    for (const status of group) isOn ? wanted.add(status) : wanted.delete(status);
    change({ status: [...wanted].join(",") });
  };
  const chips = STATUSES.map(([label, group]) =>
    chip(
      label,
      `status-${label}`,
      group.every((one) => wanted.has(one)),
      (isOn) => toggle(group, isOn),
    ),
  );
  return el("fieldset.chips", el("legend", "Status"), chips);
}
