// The actions that a person can take on a run. Sending corrected rejects checks them like `lume resubmit`.

import { get, hex, newKey, path, post, upload } from "./api.js";
import { el, newId } from "./dom.js";
import { counted, shortId } from "./format.js";
import { mapLink } from "./map_upload.js";
import { actButton, address, notice, select } from "./parts.js";
import { isActive } from "./status.js";

/** The buttons for a run. */
export function actions(run) {
  if (isActive(run)) return [actButton("Cancel", () => cancel(run), "danger")];
  return [
    mapLink(run),
    run.metadata.target_locations.rejects && actButton("Send corrected rejects …", () => sendMended(run)),
    run.status !== "SUCCEEDED" && !run.metadata.dismissed && actButton("Dismiss …", () => askDismissal(run)),
    actButton("Run again", () => again(run, false)),
    actButton("Run again, forced …", () => askForced(run)),
    run.status === "FAILED" && againInLayout(run),
  ];
}

async function cancel(run) {
  const now = await post(`${path("runs", run.id)}/cancel`);
  notice(isActive(now) ? "Asked the run to stop." : `The run has ended: ${now.status}.`);
}

async function again(run, isForced, layout = run.layout) {
  await submit({
    flow_version: run.flow_version,
    source_path: run.source_path,
    run_metadata: run.run_metadata,
    force_rerun: isForced,
    ...(layout && { layout }),
  });
}

/** A button to name the layout of a run's files; nothing if the version has no layouts. */
function againInLayout(run) {
  const node = el("span", { hidden: true });
  const [flow, version] = run.flow_version.split(":");
  get(path("flows", flow, "versions", version))
    .then(({ definition: { layouts } }) => {
      if (layouts)
        node.replaceWith(actButton("Run again in a layout …", () => askLayout(run, Object.keys(layouts))));
    })
    .catch(() => {});
  return node;
}

function askLayout(run, names) {
  let layout = run.layout ?? names[0];
  const options = names.map((name) => [name, name]);
  const choose = select({ name: "layout" }, options, layout, (name) => (layout = name));
  return dialog(
    "Run again in a layout?",
    "Run again",
    [
      el("p", "All files of ", el("code", run.source_path), " are read in this layout, whatever their names say."),
      el("label.field", "Layout", choose),
    ],
    () => again(run, false, layout),
  );
}

async function submit(body) {
  const run = await post("/v1/runs", body, { headers: { "Idempotency-Key": newKey() } });
  notice(`Run ${shortId(run.id)} was submitted.`);
  location.hash = `#/runs/${run.id}`;
}

function askForced(run) {
  return dialog(
    "Run again, forced?",
    "Process it again",
    [
      el(
        "p",
        "The source ",
        el("code", run.source_path),
        " is processed even if ",
        el("code", run.flow_version),
        " has processed it already. Whoever reads the targets may then get its rows twice.",
      ),
    ],
    () => again(run, true),
  );
}

const askDismissal = (run) =>
  askWhy(
    "Dismiss this run?",
    "Dismiss",
    "It then no longer waits for a person. Its rows stay as they are.",
    async (why) => {
      await post(`${path("runs", run.id)}/dismiss`, { why });
      return "The run was dismissed.";
    },
  );

/** Replays the open rows of a version's flow with it; null as the reason is all reasons. */
export async function replayOpen(reference, reason = null) {
  const [flow, to] = reference.split(":");
  await post("/v1/replays", { flow, to, reason });
  location.hash = address(["runs"], "", { flow: reference });
}

/** Discards the open and lost rows of a flow. */
export const askDiscard = (flow) =>
  askWhy(
    `Discard all rows of ${flow}?`,
    "Discard them",
    "All of its open and lost rejected rows then need nothing more, whatever their reasons.",
    async (why) => {
      const { discarded } = await post("/v1/rejects/discard", { flow, why });
      return `${counted(discarded, "row")} ${discarded === 1 ? "was" : "were"} discarded.`;
    },
  );

/** Asks why nothing is left to do; `act` receives the reason and returns what was done. */
function askWhy(title, yes, about, act) {
  const why = el("input", { name: "why", required: true, maxlength: 500 });
  return dialog(title, yes, [el("p", about), el("label.field", "Why nothing is left to do", why)], async () => {
    notice(await act(why.value));
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  });
}

function sendMended(run) {
  const file = el("input", { type: "file", name: "mended", required: true });
  return dialog(
    "Send corrected rejects",
    "Send",
    [
      el(
        "p",
        "Download the rejects, correct them, and choose the file here. A new run of ",
        el("code", run.flow_version),
        " processes it; columns that begin with ",
        el("code", "_lume_"),
        " are ignored.",
      ),
      el("label.field", "Corrected file", file),
    ],
    () => mended(run, file.files[0]),
  );
}

async function mended(run, file) {
  if (!file) throw new Error("Choose the file of corrected rejects first.");
  await refuseOthers(file);
  const content = await checksum(file);
  const held = content && (await holder(run, content));
  if (held) {
    notice(`Run ${shortId(held.id)} has this content already: nothing was submitted.`);
    location.hash = `#/runs/${held.id}`;
    return;
  }
  await refuseReplacing(run);
  const ending = /\.[A-Za-z0-9]{1,10}$/.exec(file.name)?.[0] ?? "";
  const name = `mended-${shortId(run.id)}-${newKey().slice(0, 8)}${ending}`;
  const source_path = await upload(name, file, { flow_version: run.flow_version });
  const marks = { resubmit_of: run.id, ...(content && { resubmit_sha256: content }) };
  await submit({
    flow_version: run.flow_version,
    source_path,
    run_metadata: { resubmit_source: run.source_path, ...run.run_metadata, ...marks },
  });
}

/** Asks; resolves once it is answered and, after a yes, acted upon. The dialog shows failures. */
function dialog(title, yes, content, act) {
  const heading = newId("dialog");
  const problem = el("p.problem", { role: "alert" });
  const confirm = el("button.primary", yes);
  const box = el(
    "dialog",
    { "aria-labelledby": heading },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id: heading }, title),
      content,
      problem,
      el("div.buttons", el("button", { type: "button", on: { click: () => box.close() } }, "Back"), confirm),
    ),
  );
  box.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    confirm.disabled = true;
    try {
      await act();
      box.close();
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      confirm.disabled = false;
    }
  });
  document.body.append(box);
  box.showModal();
  return new Promise((resolve) =>
    box.addEventListener("close", () => {
      box.remove();
      resolve();
    }),
  );
}

const FIRST_LINE = 64 * 1024;
const NO_TEXT = ["PK\u0003\u0004", "PAR1", "\u001f\u008b", "(\u00b5/\u00fd", "BZh", "\u00fd7zXZ", "["];

/** Throws if a text file has none of our columns: it may be the source itself. */
async function refuseOthers(file) {
  const bytes = await file.slice(0, FIRST_LINE).arrayBuffer();
  const start = new TextDecoder("latin1").decode(bytes).trimStart();
  if (NO_TEXT.some((magic) => start.startsWith(magic))) return;
  const [line] = start.replaceAll("\0", "").split(/[\r\n]/, 1); // UTF-16 has a NUL beside each letter
  if (!line.toLowerCase().includes("_lume_")) {
    throw new Error(
      "This file has no _lume_ columns, so it is not a file of rejects: its rows may be processed already.",
    );
  }
}

/** Throws if all runs of the flow version write one file: the corrected rows would replace this run's. */
async function refuseReplacing(run) {
  const [flow, version] = run.flow_version.split(":");
  const { mapped } = (await get(path("flows", flow, "versions", version))).definition.target ?? {};
  if (typeof mapped !== "string" || ["{run_id}", "{source_path}"].some((name) => mapped.includes(name))) return;
  throw new Error(
    `All runs of ${run.flow_version} write ${mapped}: the corrected rows would replace the rows of this run. ` +
      "Put {run_id} into target.mapped of a new version and run that on the whole source.",
  );
}

/** Returns the SHA-256 of a file; nothing if the page was loaded insecurely, where browsers compute none. */
async function checksum(file) {
  if (!crypto.subtle) return undefined;
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return hex(new Uint8Array(digest));
}

/** Returns the run that processes, or has processed, this content; one that wrote nothing may be repeated. */
async function holder(run, content) {
  const query = { flow_version: run.flow_version, since: run.created_at, limit: 100 };
  let cursor;
  do {
    const page = await get("/v1/runs", cursor ? { ...query, cursor } : query);
    const found = page.items.find(
      ({ run_metadata: told, ...one }) =>
        told?.resubmit_of === run.id &&
        told.resubmit_sha256 === content &&
        (isActive(one) || one.metadata.target_locations.mapped),
    );
    if (found) return found;
    cursor = page.next_cursor;
  } while (cursor);
  return undefined;
}
