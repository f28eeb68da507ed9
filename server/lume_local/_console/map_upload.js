// A file from this browser that is to be mapped, and the links that lead to its page.

import { newKey, path, put } from "./api.js";
import { el } from "./dom.js";
import { address, card } from "./parts.js";

const ENDINGS = /(\.[A-Za-z0-9]{1,10}){1,2}$/;
const LONGEST = 100;

/** Where a file is mapped: `#/map/people?file=a.csv`. Without a file, one is asked for. */
export const mapAddress = (flow, file, run) => address(["map", flow], "", { file, run });

/** The link from a run to its file; nothing where there is no reason to map it. */
export function mapLink(run) {
  const isUpload = run.source_path.startsWith("upload://");
  if (run.status !== "FAILED" && !isUpload) return null;
  const [flow] = run.flow_version.split(":");
  return el("a", { class: "button", href: mapAddress(flow, run.source_path, run.id) }, "Map this file");
}

/** Asks for a file of this browser; then its page is shown. */
export function fileCard(flow, run, why) {
  const file = el("input", { type: "file", name: "sample", required: true });
  const problem = el("p", { class: "problem", role: "alert" }, why);
  const send = el("button", { class: "primary" }, "Upload and map");
  async function sent(event) {
    event.preventDefault();
    send.disabled = true;
    try {
      location.hash = mapAddress(flow, await uploaded(file.files[0]), run);
    } catch (error) {
      problem.textContent = error.message;
      send.disabled = false;
    }
  }
  return card(
    "Choose the file",
    problem,
    el(
      "form",
      { class: "filters", on: { submit: sent } },
      el("label", { class: "field" }, "File of this computer", file),
      send,
    ),
  );
}

/** The source path of a file that was uploaded under a name of its own. */
async function uploaded(file) {
  if (!file) throw new Error("Choose a file first.");
  const [ending = ""] = ENDINGS.exec(file.name) ?? [];
  const stem = file.name.slice(0, file.name.length - ending.length).replace(/[^A-Za-z0-9_-]+/g, "_");
  const name = `${stem.replace(/^[_-]+/, "").slice(0, LONGEST) || "file"}-${newKey().slice(0, 8)}${ending}`;
  const sent = await put(path("uploads", name), file, {
    headers: { "If-None-Match": "*" },
    type: "application/octet-stream",
  });
  return sent.source_path;
}
