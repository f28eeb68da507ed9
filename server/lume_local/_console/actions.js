// The actions that a person can take on a run.

import { newKey, path, post, put } from "./api.js";
import { el, newId } from "./dom.js";
import { shortId } from "./format.js";
import { mapLink } from "./map_upload.js";
import { checksum, holder, refuseOthers, refuseReplacing } from "./mended.js";
import { notice } from "./parts.js";
import { isActive } from "./status.js";

/** The buttons for a run. */
export function actions(run) {
  if (isActive(run)) return [button("Cancel", () => cancel(run), "danger")];
  return [
    mapLink(run),
    run.metadata.target_locations.rejects && button("Send mended rejects …", () => sendMended(run)),
    run.status !== "SUCCEEDED" && !run.metadata.dismissed && button("Dismiss …", () => askDismissal(run)),
    button("Run again", () => again(run, false)),
    button("Run again, forced …", () => askForced(run)),
  ];
}

function button(name, act, look = "") {
  let isBusy = false; // a disabled button would lose the focus
  async function click() {
    if (isBusy) return;
    isBusy = true;
    try {
      await act();
    } catch (error) {
      notice(error.message, true);
    } finally {
      isBusy = false;
    }
  }
  return el("button", { class: look, on: { click } }, name);
}

async function cancel(run) {
  const now = await post(`${path("runs", run.id)}/cancel`);
  notice(isActive(now) ? "Asked the run to stop." : `The run has ended: ${now.status}.`);
}

async function again(run, isForced) {
  await submit({
    flow_version: run.flow_version,
    source_path: run.source_path,
    run_metadata: run.run_metadata,
    force_rerun: isForced,
  });
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
        {},
        "The source ",
        el("code", {}, run.source_path),
        " is processed even if ",
        el("code", {}, run.flow_version),
        " has processed it already. Whoever reads the targets may then get its rows twice.",
      ),
    ],
    () => again(run, true),
  );
}

function askDismissal(run) {
  const why = el("input", { name: "why", required: true, maxlength: 500 });
  return dialog(
    "Dismiss this run?",
    "Dismiss",
    [
      el("p", {}, "It then no longer waits for a person. Its rows stay as they are."),
      el("label", { class: "field" }, "Why nothing is left to do", why),
    ],
    async () => {
      await post(`${path("runs", run.id)}/dismiss`, { why: why.value });
      notice("The run was dismissed.");
      window.dispatchEvent(new HashChangeEvent("hashchange"));
    },
  );
}

function sendMended(run) {
  const file = el("input", { type: "file", name: "mended", required: true });
  return dialog(
    "Send mended rejects",
    "Send",
    [
      el(
        "p",
        {},
        "Download the rejects, correct them, and choose the file here. A new run of ",
        el("code", {}, run.flow_version),
        " processes it; columns that begin with ",
        el("code", {}, "_lume_"),
        " are ignored.",
      ),
      el("label", { class: "field" }, "Mended file", file),
    ],
    () => mended(run, file.files[0]),
  );
}

async function mended(run, file) {
  if (!file) throw new Error("Choose the file with the mended rejects first.");
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
  const sent = await put(`${path("uploads", name)}?flow_version=${encodeURIComponent(run.flow_version)}`, file, {
    headers: { "If-None-Match": "*" },
    type: "application/octet-stream",
  });
  await submit({
    flow_version: run.flow_version,
    source_path: sent.source_path,
    run_metadata: { ...run.run_metadata, resubmit_of: run.id, ...(content && { resubmit_sha256: content }) },
  });
}

/** Asks; resolves once it is answered and, after a yes, acted upon. The dialog shows failures. */
function dialog(title, yes, content, act) {
  const heading = newId("dialog");
  const problem = el("p", { class: "problem", role: "alert" });
  const confirm = el("button", { class: "primary" }, yes);
  const box = el(
    "dialog",
    { "aria-labelledby": heading },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id: heading }, title),
      content,
      problem,
      el(
        "div",
        { class: "buttons" },
        el("button", { type: "button", on: { click: () => box.close() } }, "Back"),
        confirm,
      ),
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
