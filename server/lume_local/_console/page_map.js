// A file in an unknown layout: a proposal, a person's decisions, a trial, and the flow's next version.

import { el, fill } from "./dom.js";
import { counted, fileName } from "./format.js";
import { decisionsOf, Mapping } from "./map_proposal.js";
import { drawRow } from "./map_row.js";
import { saving } from "./map_save.js";
import { trialOf } from "./map_trial.js";
import { fileCard } from "./map_upload.js";
import { address, card, notice, pageHead, table } from "./parts.js";

const COLUMNS = [["Target"], ["Source"], ["Values"], ["Grade and evidence"], ["Review"]];

export async function show({ parts, query, signal }) {
  const [flow, file, run] = [parts[1] ?? "", query.get("file"), query.get("run")];
  const title = file ? `Map ${fileName(file)}` : "Map a file";
  const head = header(flow, title);
  const choice = (why) => ({ title, node: el("article", head, fileCard(flow, run, why)) });
  if (!file) return choice();
  const mapping = new Mapping(flow, file, decisionsOf(flow, file), signal);
  try {
    await mapping.load();
  } catch (error) {
    if (error.status !== 422) throw error;
    return choice(error.message); // the server can't read it, or not from that place
  }
  return { title, node: page(mapping, head, run) };
}

function header(flow, title) {
  const link = (href, text) => el("a", { href }, text);
  return pageHead([link("#/flows", "Flows"), " / ", link(address(["flows", flow], "", {}), flow), " /"], title);
}

function page(mapping, head, run) {
  const about = el("p.muted.below", { role: "status" });
  const doubts = el("div");
  const body = el("tbody");
  const rows = new Map();
  const trial = trialOf(mapping);
  const save = saving(mapping, run);

  function draw() {
    const { proposal, decisions } = mapping;
    const [sample] = proposal.samples;
    fill(about, summary(mapping, sample));
    fill(doubts, doubtsOf(proposal));
    for (const column of proposal.columns) {
      if (!rows.has(column.name)) rows.set(column.name, el("tr"));
      const change = (fields) => mapping.change(column.name, fields);
      drawRow(rows.get(column.name), column, decisions.of(column.name), sample.columns, change);
    }
    const nodes = proposal.columns.map(({ name }) => rows.get(name));
    if (nodes.some((node, index) => node !== body.children[index])) body.replaceChildren(...nodes);
    trial.draw();
    save.draw();
  }
  const columns = table("Columns", COLUMNS, body, "stacked map");
  mapping.onChange = draw;
  mapping.onBusy = (isBusy) => columns.setAttribute("aria-busy", String(isBusy));
  draw();
  return el(
    "article.map-page",
    head,
    about,
    doubts,
    card("Columns", el("div.buttons.gap", approveCertain(mapping)), columns),
    trial.node,
    save.node,
  );
}

function summary({ proposal, decisions, open }, sample) {
  const reviews = Object.values(decisions.all()).map(({ review }) => review);
  const count = (state) => reviews.filter((one) => one === state).length;
  return [
    `${counted(sample.rows, "row")} of ${fileName(sample.name)} ${sample.rows === 1 ? "was" : "were"} examined. `,
    `${counted(proposal.columns.length, "column")}: ${count("approved")} approved, ${count("flagged")} flagged`,
    open.length > 0 && `, ${open.length} without a source`,
    ".",
  ];
}

function doubtsOf({ doubts, unused, samples }) {
  const all = [...doubts, ...(doubts.length ? [] : samples[0].doubts)];
  if (!all.length && !unused.length) return null;
  const said = (one) => el("li", one, /[.?]$/.test(one) ? "" : ".");
  return card(
    "About the file",
    all.length > 0 && el("ul.doubts", all.map(said)),
    unused.length > 0 && el("p.muted", `Unused columns: ${unused.join(", ")}.`),
  );
}

function approveCertain(mapping) {
  function approve() {
    const certain = mapping.proposal.columns.filter(
      ({ name, chosen }) =>
        chosen?.grade === "certain" && !chosen.doubts.length && !mapping.decisions.of(name).review,
    );
    for (const { name } of certain) mapping.decisions.change(name, { review: "approved" });
    mapping.onChange();
    notice(certain.length ? `${counted(certain.length, "column")} approved.` : "No other column is certain.");
  }
  return el("button", { type: "button", on: { click: approve } }, "Approve certain columns");
}
