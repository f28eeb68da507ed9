// Files in layouts that a flow lacks: a proposal, a person's decisions, a trial, and the flow's next version.

import { get, path } from "./api.js";
import { el, fill } from "./dom.js";
import { counted, fileName } from "./format.js";
import { doubtList, layoutCards } from "./map_layouts.js";
import { decisionsOf, Mapping } from "./map_proposal.js";
import { footerAnswers, readingOf } from "./map_reading.js";
import { saving } from "./map_save.js";
import { trialOf } from "./map_trial.js";
import { fileForm, isUpload, mapAddress } from "./map_upload.js";
import { address, card, pageHead } from "./parts.js";

export async function show({ parts, query, signal }) {
  const [flow, id] = [parts[1] ?? "", query.get("run")];
  const run = id && (await get(path("runs", id), {}, { signal }).catch(() => null));
  const lies = run?.metadata.arrival?.lies_at; // a failed file may have been put aside since the link was made
  const files = query.getAll("file").map((file) => (lies && !isUpload(file) ? lies : file));
  const title = files.length ? `Map ${files.map(fileName).join(", ")}` : "Map a file";
  const head = header(flow, title);
  if (!files.length) return { title, node: el("article", head, choice(flow, id)) };
  const mapping = new Mapping(flow, files, decisionsOf(flow, files[0]), signal);
  try {
    await mapping.load();
  } catch (error) {
    if (error.status !== 422) throw error;
    // The server can't read a file, or not from that place, or not so.
    const again = () => window.dispatchEvent(new HashChangeEvent("hashchange"));
    return { title, node: el("article", head, choice(flow, id, error.message), unread(mapping, again)) };
  }
  return { title, node: page(mapping, head, run) };
}

function header(flow, title) {
  const link = (href, text) => el("a", { href }, text);
  return pageHead([link("#/flows", "Flows"), " / ", link(address(["flows", flow], "", {}), flow), " /"], title);
}

function choice(flow, run, why) {
  const problem = el("p.problem", { role: "alert" }, why);
  return card("Choose the file", problem, fileForm(flow, run, [], problem));
}

/** How each file is to be read, while the server can't. */
function unread({ files, decisions }, again) {
  const parts = files.map((file) => {
    const change = (fields) => {
      decisions.read(file, fields);
      again();
    };
    return [el("h3", fileName(file)), readingOf(null, decisions.kept.sources[file] ?? {}, change)];
  });
  return card("Or say how it is read", parts);
}

function page(mapping, head, run) {
  const about = el("p.muted.below", { role: "status" });
  const doubts = el("div");
  const samples = filesCard(mapping, run?.id);
  const layouts = layoutCards(mapping);
  const trial = trialOf(mapping);
  const save = saving(mapping, run);

  function draw() {
    const { proposal } = mapping;
    fill(about, summary(mapping), mapping.proposal.samples.map(skippedOf));
    fill(doubts, proposal.doubts.length > 0 && card("About the version", doubtList(proposal.doubts)));
    for (const part of [samples, layouts, trial, save]) part.draw();
  }
  mapping.onChange = draw;
  mapping.onBusy = (isBusy) => layouts.node.setAttribute("aria-busy", String(isBusy));
  draw();
  return el("article.map-page", head, about, doubts, samples.node, layouts.node, trial.node, save.node);
}

function summary({ proposal, decisions, changed, open }) {
  const files = proposal.samples.map((one) => fileName(one.name)).join(", ");
  const rows = proposal.samples.reduce((sum, sample) => sum + sample.rows, 0);
  const columns = changed.flatMap((layout) => layout.columns);
  const reviews = changed.flatMap(({ name }) => Object.values(decisions.of(name)).map(({ review }) => review));
  const count = (state) => reviews.filter((one) => one === state).length;
  return [
    `${counted(rows, "row")} of ${files} ${rows === 1 ? "was" : "were"} examined. `,
    `${counted(columns.length, "column")}: ${count("approved")} approved, ${count("flagged")} flagged`,
    open.length > 0 && `, ${open.length} without a source`,
    ".",
  ];
}

const KINDS = {
  preamble: "title line",
  comments: "comment line",
  blank: "blank line",
  footer: "footer line",
  outside: "out-of-range row",
};

/** What was skipped of a file, if anything. */
function skippedOf({ name, skipped }) {
  const parts = Object.entries(KINDS).flatMap(([kind, line]) => (skipped[kind] ? counted(skipped[kind], line) : []));
  return parts.length > 0 && ` Skipped in ${fileName(name)}: ${parts.join(", ")}.`;
}

/** The files: the layout that reads each, the questions about it, and the controls for how it is read. */
function filesCard(mapping, run) {
  const body = el("div");
  const problem = el("p.problem", { role: "alert" });
  const more = el("details", el("summary", "Add files"), fileForm(mapping.flow, run, mapping.files, problem));
  let drawn = null;

  function draw() {
    const { proposal, decisions, files, flow } = mapping;
    // Not while a proposal is made: a person may be on the way to the next control.
    const state = JSON.stringify([proposal.samples, mapping.refusals]);
    if (drawn === state) return;
    drawn = state;
    const { name } = document.activeElement ?? {};
    const within = [...body.children].indexOf(document.activeElement?.closest(".sample"));
    fill(
      body,
      proposal.samples.map((sample, index) => {
        const known = decisions.kept.sources[files[index]] ?? {};
        const change = (fields) => mapping.read(files[index], fields);
        const others = files.filter((_, other) => other !== index);
        return el(
          "section.sample",
          el("h3", fileName(sample.name), sample.layout && el("span.tag", `layout ${sample.layout}`)),
          sample.doubts.length > 0 && doubtList(sample.doubts),
          footerAnswers(sample, known, change),
          readingOf(sample, known, change),
          others.length > 0 &&
            el("a.button", { href: mapAddress(flow, others, run) }, `Leave ${fileName(sample.name)} out`),
        );
      }),
    );
    if (within >= 0 && name)
      body.children[within]?.querySelector(`[name="${name}"]`)?.focus({ preventScroll: true });
  }
  return { node: card("Files", body, problem, more), draw };
}
