// The upload of a file to map, and the links to its page.

import { newKey, upload } from "./api.js";
import { el } from "./dom.js";
import { address, card } from "./parts.js";

const ENDINGS = /(\.[A-Za-z0-9]{1,10}){1,2}$/;
const LONGEST = 100;

/** The address of a file's mapping: `#/map/people?file=a.csv`. Without a file, the page asks for one. */
export const mapAddress = (flow, file, run) => address(["map", flow], "", { file, run });

const COMMAND = /`lume flow map (\S+):\S+ '?([^`]+?)'?`/;

/** A message with a link in place of the command that maps a file. */
export function withMapLink(message, run) {
  const [command, flow, file] = COMMAND.exec(message) ?? [];
  if (!command) return message;
  const [before, after] = message.split(command);
  return [before, el("a", { href: mapAddress(flow, file, run.id) }, "map this file"), after];
}

/** The link from a run to its file; nothing if there is no reason to map it. */
export function mapLink(run) {
  const isUpload = run.source_path.startsWith("upload://");
  if (run.status !== "FAILED" && !isUpload) return null;
  const [flow] = run.flow_version.split(":");
  return el("a.button", { href: mapAddress(flow, run.source_path, run.id) }, "Map this file");
}

/** Asks for a file of this browser, then shows its page. */
export function fileCard(flow, run, why) {
  const file = el("input", { type: "file", name: "sample", required: true });
  const problem = el("p.problem", { role: "alert" }, why);
  const send = el("button.primary", "Upload and map");
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
    el("form.filters", { on: { submit: sent } }, el("label.field", "File on this computer", file), send),
  );
}

/** Returns a source path with a unique name for an uploaded file. */
async function uploaded(file) {
  if (!file) throw new Error("Choose a file first.");
  const [ending = ""] = ENDINGS.exec(file.name) ?? [];
  const stem = file.name.slice(0, file.name.length - ending.length).replace(/[^A-Za-z0-9_-]+/g, "_");
  const name = `${stem.replace(/^[_-]+/, "").slice(0, LONGEST) || "file"}-${newKey().slice(0, 8)}${ending}`;
  return upload(name, file);
}
