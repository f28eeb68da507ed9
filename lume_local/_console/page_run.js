// One run: what happened to it, which rows it rejected and why, and what can be done now.

import { all, get, path, save, saveAs } from "./api.js";
import { actions } from "./actions.js";
import { bar } from "./charts.js";
import { el, fill, refill } from "./dom.js";
import { duration, fileName, moment, number, percent, secondsBetween, shortId } from "./format.js";
import { latest } from "./latest.js";
import { address, card, cell, figure, flowLink, notice, table } from "./parts.js";
import { rowsOf } from "./rows.js";
import { ageOf, badge, isActive, lookOf, nameOf, rejectedShare } from "./status.js";
import { workbook } from "./xlsx.js";

const POLL = 1000;
const FIRST = 10;
const SOME = 25;
const STATES = { pending: "Pending", delivered: "Delivered", given_up: "Given up" };

export async function show({ parts, query, signal }) {
  const id = parts[1];
  const node = el("article", { class: "run-page" });
  const head = el("div", {});
  const counts = el("div", {});
  const body = el("div", { class: "columns" });
  let drawn = null;

  function draw(run) {
    const message = run.metadata.error_message;
    fill(counts, message && el("p", { class: "problem", role: "alert" }, message), figures(run));
    if (drawn !== run.status) {
      refill(head, header(run));
      fill(body, sections(run, query, signal)); // rows are fetched once: they change only when the run ends
    } else if (isActive(run)) {
      head.querySelector(".badge").replaceWith(badge(run));
      body.querySelector(".timeline").replaceWith(timeline(run));
    }
    drawn = run.status;
  }
  node.append(head, counts, body);
  // The feed tells of changes of status; how far a run is has to be asked for.
  const ask = () => get(path("runs", id), {}, { signal });
  const load = latest(ask, draw, { again: isActive, time: POLL, signal });
  await load();
  return { title: `Run ${shortId(id)}`, node, update: (ids) => (!ids || ids.has(id) ? load() : null) };
}

function header(run) {
  return el(
    "header",
    { class: "head" },
    el(
      "div",
      {},
      el(
        "p",
        { class: "muted" },
        el("a", { href: "#/runs" }, "Runs"),
        " / ",
        el("span", { class: "mono" }, shortId(run.id)),
      ),
      el("h1", { tabindex: -1, title: run.source_path }, fileName(run.source_path)),
      el(
        "p",
        { class: "under" },
        badge(run),
        flowLink(run.flow_version),
        el("span", { class: "muted" }, "created ", ageOf(run.created_at)),
      ),
    ),
    el("div", { class: "buttons" }, actions(run)),
  );
}

function figures(run) {
  const { metrics } = run.metadata;
  const took = run.started_at ? secondsBetween(run.started_at, run.finished_at ?? new Date()) : null;
  const share = rejectedShare(metrics);
  return el(
    "dl",
    { class: "figures" },
    figure("Rows read", number(metrics.rows_read)),
    figure("Mapped", number(metrics.rows_mapped), metrics.rows_mapped ? "ok" : ""),
    figure(
      "Rejected",
      number(metrics.rows_rejected),
      metrics.rows_rejected ? "partial" : "",
      metrics.rows_rejected ? percent(share) : null,
    ),
    metrics.rows_filtered ? figure("Filtered", number(metrics.rows_filtered)) : null,
    isActive(run) ? figure("Progress", percent(run.progress ?? 0), "active") : null,
    figure("Duration", duration(took)),
  );
}

/** From its creation to its end, each stage with its place and its length. */
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
      {},
      el("span", { class: "name" }, stage.name),
      bar(length / all, stage.look, Math.min(1, Math.max(0, secondsBetween(run.created_at, stage.from) / all))),
      el("span", { class: "num" }, duration(length)),
      el(
        "span",
        { class: "num muted" },
        stage.rows === null || stage.rows === undefined ? "" : rows(stage.rows),
      ),
    );
  };
  const ended =
    run.finished_at &&
    el(
      "li",
      { class: "end" },
      el("span", { class: "name" }, el("span", { class: `swatch ${lookOf(run.status)}` }), nameOf(run.status)),
      el("span", { class: "muted num" }, moment(run.finished_at)),
    );
  const node = card("Life cycle", el("ol", { class: "timeline-list" }, stages.map(line), ended));
  node.classList.add("timeline");
  return node;
}

// Of these the number of rows says nothing.
const OF_SOURCE = /^((column|no row has) '|the source |source\.where |[\d,]+ of )/;
const rows = (count) => `${number(count)} ${count === 1 ? "row" : "rows"}`;

/** Beside each other what is short, below it what is wide. */
function sections(run, query, signal) {
  const { metrics, target_locations: places } = run.metadata;
  const reasons = Object.entries(metrics.reject_reasons).sort(([, a], [, b]) => b - a);
  const warnings = Object.entries(metrics.warnings ?? {});
  const wanted = query.get("reason");
  const why = reasons.length > 0 && card("Why rows were rejected", bars(run, reasons, wanted));
  const warned =
    warnings.length > 0 &&
    card(
      "Warnings",
      el(
        "ul",
        { class: "plain" },
        warnings.map(([text, times]) =>
          el("li", {}, text, " ", !OF_SOURCE.test(text) && el("span", { class: "muted num" }, rows(times))),
        ),
      ),
    );
  const stack = (...cards) => el("div", { class: "stack" }, cards);
  return [
    why ? [stack(why), stack(timeline(run), warned)] : [stack(timeline(run), warned), details(run)],
    metrics.rows_rejected > 0 &&
      places.rejects &&
      wide(
        card(
          wanted ? `Rejected rows: ${wanted}` : "Rejected rows",
          rowsOf(run, "rejects", "Rejected rows", { reason: wanted, limit: SOME }, signal),
        ),
      ),
    places.mapped &&
      wide(card("First mapped rows", rowsOf(run, "mapped", "First mapped rows", { limit: FIRST }, signal))),
    places.mapped && columns(metrics.columns ?? {}),
    why && details(run),
    deliveries(run, signal),
  ];
}

/** What the columns of the mapped rows hold. */
function columns(held) {
  const rows = Object.entries(held).map(([name, one]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, name),
      cell("num", number(one.distinct)),
      cell("num", number(one.nulls)),
      cell("value", one.min ?? ""),
      cell("value", one.max ?? ""),
    ),
  );
  const heads = [["Column"], ["Distinct", "num"], ["Null", "num"], ["Least"], ["Greatest"]];
  return (
    rows.length > 0 &&
    wide(card("Columns of the mapped rows", table("Columns of the mapped rows", heads, el("tbody", {}, rows))))
  );
}

const wide = (node) => (node.classList.add("wide"), node);

function bars(run, reasons, wanted) {
  const most = reasons[0][1];
  return el(
    "ul",
    { class: "bars" },
    reasons.map(([reason, times]) => {
      const isOn = reason === wanted;
      const href = address(["runs", run.id], "", { reason: isOn ? null : reason });
      return el(
        "li",
        {},
        el(
          "a",
          { href, "aria-current": isOn && "true", class: isOn ? "on" : "" },
          el("span", { class: "name" }, reason),
          el("span", { class: "num" }, number(times)),
          bar(times / most, "partial"),
        ),
      );
    }),
  );
}

const outputOf = (run, which) => save(path("runs", run.id, "outputs", which));

/** The rejects as a workbook: corrected, it can be sent as any other file of them. */
async function rejectsBook(run) {
  const rows = await all(path("runs", run.id, "rejects"), { limit: 1000 });
  saveAs(workbook(rows), `${run.id}-rejects.xlsx`);
}

async function download(how, button) {
  button.disabled = true;
  try {
    await how();
  } catch (error) {
    notice(error.message, true);
  } finally {
    button.disabled = false;
  }
}

function details(run) {
  const { target_locations: places } = run.metadata;
  const entry = (name, ...value) => [el("dt", {}, name), el("dd", {}, ...value)];
  const output = (name, which) =>
    places[which] &&
    entry(
      name,
      !places[which].includes("://") && // else it lies in a database or an object store
        el(
          "button",
          { on: { click: (event) => download(() => outputOf(run, which), event.target) } },
          `Download ${which}`,
        ),
      which === "rejects" &&
        el("button", { on: { click: (event) => download(() => rejectsBook(run), event.target) } }, "Rejects as .xlsx"),
      el("code", { class: "path" }, places[which]),
    );
  const { mends, mended_by: menders = [], dismissed } = run.metadata;
  const link = (id) => el("a", { href: address(["runs", id], "", {}), class: "mono" }, shortId(id));
  return card(
    "Details",
    el(
      "dl",
      { class: "details" },
      entry("Run", el("code", {}, run.id)),
      entry("Source", el("code", { class: "path" }, run.source_path)),
      output("Mapped rows", "mapped"),
      output("Rejected rows", "rejects"),
      entry("Created", moment(run.created_at)),
      run.submitted_by &&
        entry("Submitted by", el("a", { href: address(["runs"], "", { by: run.submitted_by }) }, run.submitted_by)),
      entry("Started", moment(run.started_at)),
      entry("Ended", moment(run.finished_at)),
      run.force_rerun && entry("Forced", "processed although it may have been processed before"),
      mends && entry("Mends", link(mends)),
      menders.length > 0 && entry("Mended by", ...menders.flatMap((id) => [link(id), " "])),
      dismissed && entry("Dismissed", dismissed.why, " ", el("span", { class: "muted" }, moment(dismissed.at))),
      run.run_metadata && entry("Metadata", el("pre", { tabindex: 0 }, JSON.stringify(run.run_metadata, null, 2))),
    ),
  );
}

/** The webhooks and messages of the run, if there are any. */
function deliveries(run, signal) {
  const node = el("div", { hidden: true });
  get(path("runs", run.id, "deliveries"), {}, { signal })
    .then(({ items }) => {
      if (!items.length) return;
      const rows = items.map((one) =>
        el(
          "tr",
          {},
          cell("", one.kind === "message" ? "Message" : "Webhook"),
          cell("", STATES[one.state] ?? one.state),
          cell("path", one.receiver),
          cell("num", number(one.attempts)),
          cell(
            "",
            one.error ??
              (one.delivered_at ? moment(one.delivered_at) : `next attempt ${moment(one.next_attempt_at)}`),
          ),
        ),
      );
      node.replaceWith(
        card(
          "Deliveries",
          table(
            "Deliveries",
            [["Kind"], ["State"], ["Receiver"], ["Attempts", "num"], ["Last"]],
            el("tbody", {}, rows),
          ),
        ),
      );
    })
    .catch(() => {});
  return node;
}
