// The upload of a file to map, and the links to its page.

import { newKey, upload } from "./api.js";
import { el } from "./dom.js";
import { address } from "./parts.js";

const ENDINGS = /(\.[A-Za-z0-9]{1,10}){1,2}$/;
const LONGEST = 100;

/** The address of the mapping of files: `#/map/people?file=a.csv&file=b.csv`. Without one, the page asks for it. */
export function mapAddress(flow, files, run) {
  const query = [files ?? []].flat().map((file) => ["file", file]);
  return address(["map", flow], new URLSearchParams(query), { run });
}

const OF_INBOX = "inbox-"; // no file of a person: those begin with a key

/** Whether a file is a sample of open rejected rows, as `inboxName` names it. */
export const isOfInbox = (file) => file.startsWith(`upload://${OF_INBOX}`);
export const inboxName = () => `${OF_INBOX}${newKey().slice(0, 12)}.csv`;

const COMMAND = /lume flow map \S+ (.+)$/; // in a message about one of several files

export const isUpload = (file) => file.startsWith("upload://");

/** The link from a run to its file; nothing if there is no reason to map it. */
export function mapLink(run) {
  if (run.status !== "FAILED" && !isUpload(run.source_path)) return null;
  const [flow] = run.flow_version.split(":");
  const [, file] = COMMAND.exec(run.metadata.error_message ?? "") ?? [];
  return el("a.button", { href: mapAddress(flow, file ?? run.source_path, run.id) }, "Map this file");
}

/** Asks for files of this browser, then shows their page, with the `files` that are there already. */
export function fileForm(flow, run, files, problem) {
  const chosen = el("input", { type: "file", name: "sample", required: true, multiple: true });
  const send = el("button", { class: files.length ? "" : "primary" }, "Upload and map");
  async function sent(event) {
    event.preventDefault();
    send.disabled = true;
    try {
      const added = [];
      for (const file of chosen.files) added.push(await uploaded(file));
      if (!added.length) throw new Error("Choose a file first.");
      location.hash = mapAddress(flow, [...files, ...added], run);
    } catch (error) {
      problem.textContent = error.message;
      send.disabled = false;
    }
  }
  return el("form.filters", { on: { submit: sent } }, el("label.field", "Files on this computer", chosen), send);
}

/** Returns a source path with a unique name for an uploaded file. */
async function uploaded(file) {
  const [ending = ""] = ENDINGS.exec(file.name) ?? [];
  const stem = file.name.slice(0, file.name.length - ending.length).replace(/[^A-Za-z0-9_-]+/g, "_");
  const name = `${newKey()}-${stem.replace(/^[_-]+/, "").slice(0, LONGEST) || "file"}${ending}`;
  return upload(name, file);
}
