// The end of a mapping: the version is registered and runs on the file, or its file is saved.

import { get, newKey, path, post, request, saveAs } from "./api.js";
import { el, fill } from "./dom.js";
import { shortId } from "./format.js";
import { card, notice } from "./parts.js";

/** `node` has the buttons; `draw` updates them. `failed` is the run whose file it is, if any. */
export function saving(mapping, failed) {
  const problem = el("p.problem", { role: "alert" });
  const buttons = el("div.buttons");
  const text = el("pre", { tabindex: 0, "aria-label": "The flow file" });
  const file = el(
    "details",
    { on: { toggle: () => file.open && attempt(showText) } },
    el("summary", "Show the flow file"),
    text,
  );
  const node = card("Save it", problem, buttons, file);
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
    const { flow_version: reference, definition } = await mapping.fresh();
    const [flow, version] = reference.split(":");
    try {
      await request("PUT", path("flows", flow, "versions", version), {
        body: JSON.stringify(definition),
        type: "application/json",
      });
    } catch (error) {
      if (error.kind !== "flow-version-exists") throw error;
      await mapping.ask();
      const { flow_version: next } = mapping.proposal;
      throw new Error(
        `Somebody else has just saved another ${reference}. Your decisions now apply to that version: review and try ` +
          `them again, then save them as ${next}.`,
      );
    }
    await submit(reference);
  }

  async function submit(reference) {
    if (!keys.has(reference)) keys.set(reference, newKey());
    const before = failed && (await get(path("runs", failed)).catch(() => null));
    const run = await post(
      "/v1/runs",
      { flow_version: reference, source_path: mapping.file, run_metadata: before?.run_metadata ?? null },
      { headers: { "Idempotency-Key": keys.get(reference) } },
    );
    mapping.decisions.clear();
    notice(`${reference} was saved, and run ${shortId(run.id)} was submitted.`);
    location.hash = `#/runs/${run.id}`;
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
    const version = mapping.proposal.flow_version.split(":")[1];
    if (file.open) attempt(showText);
    if (drawn === `${version} ${refusal}`) return;
    drawn = `${version} ${refusal}`;
    const saver = refusal
      ? el("p.muted", `You can't save it as ${version}: ${refusal}. Send the flow file to somebody who can.`)
      : button(`Save as ${version} and run the file`, save, "primary");
    fill(buttons, saver, copying);
  }

  // A request that only an admin may make shows whether this session is one.
  get("/v1/server", {}, { signal: mapping.signal }).catch((error) => {
    if (error.status !== 403) return;
    refusal = error.message;
    draw();
  });
  return { node, draw };
}
