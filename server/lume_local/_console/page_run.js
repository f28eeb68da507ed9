// One run: its course, its rejected rows with their reasons, and the possible actions.

import { all, get, path, save, saveAs, whoAmI } from "./api.js";
import { actions } from "./actions.js";
import { bar, reasonBars } from "./charts.js";
import { el, fill, refill } from "./dom.js";
import { counted, duration, fileName, moment, number, percent, secondsBetween, shortId, sourceName } from "./format.js";
import { latest } from "./latest.js";
import {
  actButton,
  address,
  card,
  figure,
  figures,
  flowLink,
  pageHead,
  rejectedFigure,
  rowHead,
  runLink,
  table,
  wideCard,
} from "./parts.js";
import { rowsOf } from "./rows.js";
import { ageOf, badge, isActive, lookOf, nameOf, reasonsOf } from "./status.js";
import { inControls } from "./words.js";
import { workbook } from "./xlsx.js";

const POLL = 1000;
const FIRST = 10;
const SOME = 25;
const STATES = { pending: "Pending", delivered: "Delivered", given_up: "Given up" };

export async function show({ parts, query, signal }) {
  const id = parts[1];
  const node = el("article.run-page");
  const head = el("div");
  const counts = el("div");
  const body = el("div.columns");
  const isReadOnly = (await whoAmI({ signal })).role === "read";
  let drawn = null;

  function draw(run) {
    const message = run.metadata.error_message;
    fill(counts, message && el("p.problem", { role: "alert" }, inControls(message)), countsOf(run));
    if (drawn !== run.status) {
      refill(head, header(run, isReadOnly));
      fill(body, sections(run, query, signal)); // rows are loaded once: they change only when the run ends
    } else if (isActive(run)) {
      head.querySelector(".badge").replaceWith(badge(run));
      body.querySelector(".timeline").replaceWith(timeline(run));
    }
    drawn = run.status;
  }
  node.append(head, counts, body);
  // The feed reports changes of status; progress has to be polled.
  const ask = () => get(path("runs", id), {}, { signal });
  const load = latest(ask, draw, { again: isActive, time: POLL, signal });
  await load();
  return { title: `Run ${shortId(id)}`, node, update: (ids) => (!ids || ids.has(id) ? load() : null) };
}

function header(run, isReadOnly) {
  const under = [badge(run), flowLink(run.flow_version), el("span.muted", "created ", ageOf(run.created_at))];
  return pageHead(
    [el("a", { href: "#/runs" }, "Runs"), " / ", el("span.mono", shortId(run.id))],
    el("span", { title: run.source_path }, fileName(sourceName(run))),
    el("p.under", under),
    !isReadOnly && actions(run),
  );
}

function countsOf(run) {
  const { metrics } = run.metadata;
  const took = run.started_at ? secondsBetween(run.started_at, run.finished_at ?? new Date()) : null;
  return figures(
    figure("Rows read", number(metrics.rows_read)),
    figure("Mapped", number(metrics.rows_mapped), metrics.rows_mapped ? "ok" : ""),
    rejectedFigure("Rejected", metrics),
    metrics.rows_filtered ? figure("Filtered", number(metrics.rows_filtered)) : null,
    isActive(run) ? figure("Progress", percent(run.progress ?? 0), "active") : null,
    figure("Duration", duration(took)),
  );
}

/** The stages from creation to end, each with its start and duration. */
function timeline(run) {
  const end = run.finished_at ?? new Date().toISOString();
  const all = Math.max(secondsBetween(run.created_at, end), 0.001);
  const began = run.started_at ?? end;
  const stages = [
    { name: "Waiting", from: run.created_at, to: began, look: "cancelled" },
    ...run.metadata.stages.map((stage) => ({
      name: nameOf(stage.name),
      from: stage.started_at,
      to: stage.finished_at ?? end,
      rows: stage.rows,
      look: "active",
    })),
  ];
  const line = (stage) => {
    const length = Math.max(0, secondsBetween(stage.from, stage.to));
    return el(
      "li",
      el("span.name", stage.name),
      bar(length / all, stage.look, Math.min(1, Math.max(0, secondsBetween(run.created_at, stage.from) / all))),
      el("span.num", duration(length)),
      el("span.num.muted", stage.rows === null || stage.rows === undefined ? "" : counted(stage.rows, "row")),
    );
  };
  const ended =
    run.finished_at &&
    el(
      "li.end",
      el("span.name", el("span", { class: `swatch ${lookOf(run.status)}` }), nameOf(run.status)),
      el("span.muted.num", moment(run.finished_at)),
    );
  const node = card("Life cycle", el("ol.timeline-list", stages.map(line), ended));
  node.classList.add("timeline");
  return node;
}

// Warnings for which a number of rows means nothing.
const OF_SOURCE = /^((column|no row has) '|the (source|check of) |source\.where |[\d,]+ (of|rows?) )/;

/** Short cards side by side, wide ones below. */
function sections(run, query, signal) {
  const { metrics, target_locations: places } = run.metadata;
  const reasons = reasonsOf(metrics);
  const warnings = Object.entries(metrics.warnings ?? {});
  const wanted = query.get("reason");
  const link = (reason) => address(["runs", run.id], "", { reason: reason === wanted ? null : reason });
  const why = reasons.length > 0 && card("Why rows were rejected", reasonBars(reasons, link, wanted));
  const warned =
    warnings.length > 0 &&
    card(
      "Warnings",
      el(
        "ul.plain",
        warnings.map(([text, times]) =>
          el("li", text, " ", !OF_SOURCE.test(text) && el("span.muted.num", counted(times, "row"))),
        ),
      ),
    );
  const stack = (...cards) => el("div.stack", cards);
  return [
    why ? [stack(why), stack(timeline(run), warned)] : [stack(timeline(run), warned), details(run)],
    metrics.rows_rejected > 0 &&
      places.rejects &&
      wideCard(
        wanted ? `Rejected rows: ${wanted}` : "Rejected rows",
        rowsOf(run, "rejects", "Rejected rows", { reason: wanted, limit: SOME }, signal),
      ),
    places.mapped &&
      wideCard("First mapped rows", rowsOf(run, "mapped", "First mapped rows", { limit: FIRST }, signal)),
    places.mapped && columns(metrics.columns ?? {}),
    layouts(metrics.source),
    why && details(run),
    deliveries(run, signal),
  ];
}

/** The layouts in which the files of a run were written, and that of each file; nothing if the version has none. */
function layouts({ layouts: found, files = [] }) {
  if (!found) return null;
  const rows = Object.entries(found).map(([name, one]) => [
    rowHead(name),
    number(one.files),
    number(one.rows_read),
    number(one.rows_rejected),
  ]);
  const heads = [["Layout"], ["Files", "num"], ["Rows read", "num"], ["Rejected", "num"]];
  const ofFiles = files.map((one) => [rowHead(one.file), one.layout ?? "", number(one.records)]);
  return wideCard(
    "Layouts",
    table("Layouts", heads, rows),
    ofFiles.length > 0 &&
      el(
        "details",
        el("summary", `The layout of each of ${counted(ofFiles.length, "file")}`),
        table("Files", [["File", "path"], ["Layout"], ["Records", "num"]], ofFiles),
      ),
  );
}

/** Statistics of the mapped rows' columns. */
function columns(held) {
  const rows = Object.entries(held).map(([name, one]) => [
    rowHead(name),
    number(one.distinct),
    number(one.nulls),
    one.min ?? "",
    one.max ?? "",
  ]);
  const heads = [["Column"], ["Distinct", "num"], ["Null", "num"], ["Least", "value"], ["Greatest", "value"]];
  const title = "Columns of the mapped rows";
  return rows.length > 0 && wideCard(title, table(title, heads, rows));
}

/** Saves the rejects as a workbook, which can be corrected and sent like any other file of them. */
async function rejectsBook(run) {
  const rows = await all(path("runs", run.id, "rejects"), { limit: 1000 });
  saveAs(workbook(rows), `${run.id}-rejects.xlsx`);
}

function details(run) {
  const { target_locations: places } = run.metadata;
  const entry = (name, ...value) => [el("dt", name), el("dd", ...value)];
  const output = (name, which) =>
    places[which] &&
    entry(
      name,
      el(
        "div.buttons",
        !places[which].includes("://") && // else it is in a database or an object store
          actButton(`Download ${which}`, () => save(path("runs", run.id, "outputs", which))),
        which === "rejects" && actButton("Rejects as .xlsx", () => rejectsBook(run)),
      ),
      el("code.path", places[which]),
    );
  const { mends, mended_by: menders = [], dismissed, arrival } = run.metadata;
  return card(
    "Details",
    el(
      "dl.details",
      entry("Run", el("code", run.id)),
      entry("Source", el("code.path", run.source_path)),
      arrival?.lies_at && entry("It lies at", el("code.path", arrival.lies_at)),
      output("Mapped rows", "mapped"),
      output("Rejected rows", "rejects"),
      entry("Created", moment(run.created_at)),
      run.submitted_by &&
        entry(
          "Submitted by",
          el("a", { href: address(["runs"], "", { by: run.submitted_by }) }, run.submitted_by),
        ),
      entry("Started", moment(run.started_at)),
      entry("Ended", moment(run.finished_at)),
      run.layout && entry("Layout", `${run.layout}, as the submission says`),
      run.force_rerun && entry("Forced", "processed even if it was processed before"),
      mends && entry("Corrects", runLink(mends)),
      menders.length > 0 && entry("Corrected by", ...menders.flatMap((id) => [runLink(id), " "])),
      dismissed && entry("Dismissed", dismissed.why, " ", el("span.muted", moment(dismissed.at))),
      run.run_metadata && entry("Metadata", el("pre", { tabindex: 0 }, JSON.stringify(run.run_metadata, null, 2))),
    ),
  );
}

/** The webhooks and messages of the run, if any. */
function deliveries(run, signal) {
  const node = el("div", { hidden: true });
  get(path("runs", run.id, "deliveries"), {}, { signal })
    .then(({ items }) => {
      if (!items.length) return;
      const last = ({ delivered_at, next_attempt_at }) =>
        delivered_at ? moment(delivered_at) : `next attempt ${moment(next_attempt_at)}`;
      const rows = items.map((one) => [
        one.kind === "message" ? "Message" : "Webhook",
        STATES[one.state] ?? one.state,
        one.receiver,
        number(one.attempts),
        one.error ?? last(one),
      ]);
      const heads = [["Kind"], ["State"], ["Receiver", "path"], ["Attempts", "num"], ["Last"]];
      node.replaceWith(card("Deliveries", table("Deliveries", heads, rows)));
    })
    .catch(() => {});
  return node;
}
