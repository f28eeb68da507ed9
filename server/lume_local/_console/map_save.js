// The end of a mapping: the version is registered and runs on the files, or its file is saved.

import { replayOpen } from "./actions.js";
import { get, newKey, path, post, request, saveAs } from "./api.js";
import { el, fill } from "./dom.js";
import { counted, fileName, shortId } from "./format.js";
import { arrivalOf, arrivalsOf } from "./map_arrivals.js";
import { isOfInbox, isUpload } from "./map_upload.js";
import { again } from "./page_arrivals.js";
import { address, card, notice } from "./parts.js";

/** What saving does: a layout beside those of the version before, or a change of one of them. */
function effect({ proposal, changed }) {
  const { flow_version: reference, target, layouts, definition } = proposal;
  const files = ({ samples }) => samples.map(fileName).join(", ");
  if (changed.length === 0) return `${target} reads ${layouts.map(files).join(", ")} already: nothing is saved.`;
  const said = changed.map((layout) => {
    const by = layout.name && ` with the ${layout.is_new ? "new " : ""}layout ${layout.name}`;
    return `It reads files like ${files(layout)}${by}${layout.is_new ? "" : ", with your changes"}.`;
  });
  const others = Object.keys(definition.layouts ?? {}).filter((name) => !changed.some((one) => one.name === name));
  const kept = others.length > 0 && `Other files are read as by ${target}, with the layout ${others.join(" or ")}.`;
  return [`Saving adds ${reference}.`, ...said, kept].filter(Boolean).join(" ");
}

/**
 * `node` has the buttons; `draw` updates them. `failed` is the run whose file it is, if any. A sample of open rejected
 * rows is never run: its rows would be accepted beside the originals, which would stay open.
 */
export function saving(mapping, failed) {
  const files = mapping.files.filter((file) => !isOfInbox(file));
  const isOfRejects = files.length < mapping.files.length;
  const problem = el("p.problem", { role: "alert" });
  const about = el("p");
  const buttons = el("div.buttons");
  const text = el("pre", { tabindex: 0, "aria-label": "The flow file" });
  const file = el(
    "details",
    { on: { toggle: () => file.open && attempt(showText) } },
    el("summary", "Show the flow file"),
    text,
  );
  const arrival = arrivalOf(failed);
  const arrivals = arrivalsOf(mapping.flow, arrival, mapping.signal);
  const node = card("Save it", about, problem, arrivals.node, buttons, file);
  const keys = new Map(); // idempotency keys by version, the same for all attempts
  let refusal = null; // why this session may not save; requested once
  let isBusy = false;

  async function attempt(act) {
    if (isBusy) return;
    isBusy = true;
    problem.textContent = "";
    try {
      await act();
    } catch (error) {
      if (!mapping.signal.aborted) problem.textContent = error.message;
    } finally {
      isBusy = false;
    }
  }

  async function save() {
    const { flow_version: reference, definition, target } = await mapping.fresh();
    const [flow, version] = reference.split(":");
    const undo = await arrivals.keep(target.split(":")[1]);
    try {
      await request("PUT", path("flows", flow, "versions", version), {
        body: JSON.stringify(definition),
        type: "application/json",
      });
    } catch (error) {
      await undo();
      if (error.kind !== "flow-version-exists") throw error;
      await mapping.ask();
      const { flow_version: next } = mapping.proposal;
      throw new Error(
        `Somebody else has just saved another ${reference}. Your decisions now apply to that version: review and try ` +
          `them again, then save them as ${next}.`,
      );
    }
    await arrivals.move(version);
    await submit(reference);
  }

  /** A run of a copy of an arrival's file would leave the file to be processed a second time. */
  async function takeAgain() {
    const file = await again({ arrival, path: failed.source_path });
    mapping.decisions.clear();
    location.hash = file?.run_id ? `#/runs/${file.run_id}` : address(["arrivals"], "", { name: arrival });
  }

  /** Runs a version on the source of the failed run, unless files were uploaded in its place; else on each file. */
  async function submit(reference) {
    if (arrival) return takeAgain();
    const runs = [];
    const isOther = (file) => isUpload(file) && file !== failed.source_path;
    const sources = failed && !files.some(isOther) ? [failed.source_path] : files;
    for (const source_path of sources) {
      const key = JSON.stringify([reference, source_path]);
      if (!keys.has(key)) keys.set(key, newKey());
      const body = { flow_version: reference, source_path, run_metadata: failed?.run_metadata ?? null };
      runs.push(await post("/v1/runs", body, { headers: { "Idempotency-Key": keys.get(key) } }));
    }
    mapping.decisions.clear();
    if (isOfRejects) offerReplay(reference);
    if (runs.length === 0) return;
    const were = runs.length === 1 ? `was submitted: ${shortId(runs[0].id)}` : "were submitted";
    notice(`${counted(runs.length, "run")} of ${reference} ${were}.`);
    if (isOfRejects) return;
    location.hash = runs.length === 1 ? `#/runs/${runs[0].id}` : address(["runs"], "", { flow: reference });
  }

  function offerReplay(reference) {
    const replay = button(`Replay the open rows with ${reference}`, () => replayOpen(reference), "primary");
    fill(buttons, el("p.muted", `${reference} is saved. The rejected rows are still open.`), replay);
    replay.focus();
  }

  async function showText() {
    text.textContent = (await mapping.fresh()).toml;
  }

  async function copy() {
    const { toml } = await mapping.fresh();
    await navigator.clipboard.writeText(toml).catch(() => {
      throw new Error("This browser does not let the page copy: download the file instead.");
    });
    notice("The flow file was copied.");
  }

  async function download() {
    const { toml, flow_version: reference } = await mapping.fresh();
    saveAs(new Blob([toml], { type: "application/toml" }), `${reference.replace(":", ".")}.toml`);
  }

  const button = (name, act, look = "") =>
    el("button", { type: "button", class: look, on: { click: () => attempt(act) } }, name);
  const copying = [button("Copy the flow file", copy), button("Download it", download)];
  let drawn = null;

  function draw() {
    const { flow_version: reference, target } = mapping.proposal;
    const version = reference.split(":")[1];
    const isNew = mapping.changed.length > 0;
    if (file.open) attempt(showText);
    fill(about, effect(mapping));
    const state = JSON.stringify([reference, target, refusal, isNew]);
    if (drawn === state) return;
    drawn = state;
    const run = files.length === 1 ? "run the file" : "run the files";
    const running = files.length > 0 && (arrival ? "take the file again" : run);
    const title = arrival ? "Take the file again" : `R${run.slice(1)} with ${target}`;
    const runNow = running && button(title, () => submit(target), "primary");
    const replayNow = button(`Replay the open rows with ${target}`, () => replayOpen(target), "primary");
    arrivals.draw(version, isNew && !refusal);
    fill(
      buttons,
      !isNew && [runNow, isOfRejects && replayNow],
      isNew &&
        !refusal &&
        button(`Save as ${version}${running ? ` and ${running}` : ""}`, save, "primary"),
      isNew &&
        refusal &&
        el("p.muted", `You can't save it as ${version}: ${refusal}. Send the flow file to somebody who can.`),
      isNew && copying,
    );
  }

  // A request that only an admin may make shows whether this session is one.
  get("/v1/server", {}, { signal: mapping.signal }).catch((error) => {
    if (error.status !== 403) return;
    refusal = error.message;
    draw();
  });
  return { node, draw };
}
