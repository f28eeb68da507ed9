// Corrected rejects: whether a file looks like them, and whether a run has processed it. Like `lume resubmit`.

import { get, path } from "./api.js";
import { isActive } from "./status.js";

const FIRST_LINE = 64 * 1024;
const NO_TEXT = ["PK\u0003\u0004", "PAR1", "\u001f\u008b", "(\u00b5/\u00fd", "BZh", "\u00fd7zXZ", "["];

/** Throws if a text file has none of our columns: it may be the source itself. */
export async function refuseOthers(file) {
  const bytes = await file.slice(0, FIRST_LINE).arrayBuffer();
  const start = new TextDecoder("latin1").decode(bytes).trimStart();
  if (NO_TEXT.some((magic) => start.startsWith(magic))) return;
  const [line] = start.replaceAll("\0", "").split(/[\r\n]/, 1); // UTF-16 has a NUL beside each letter
  if (!line.toLowerCase().includes("_lume_")) {
    throw new Error("This file has no _lume_ columns, so it is not a file of rejects: its rows may be processed already.");
  }
}

/** Throws if all runs of the flow version write one file: the corrected rows would replace this run's. */
export async function refuseReplacing(run) {
  const [flow, version] = run.flow_version.split(":");
  const { mapped } = (await get(path("flows", flow, "versions", version))).definition.target ?? {};
  if (typeof mapped !== "string" || ["{run_id}", "{source_path}"].some((name) => mapped.includes(name))) return;
  throw new Error(
    `All runs of ${run.flow_version} write ${mapped}: the mended rows would replace those of this run there. ` +
      "Put {run_id} into target.mapped of a new version and run that on the whole source.",
  );
}

/** Returns the SHA-256 of a file; nothing if the page was loaded insecurely, where browsers compute none. */
export async function checksum(file) {
  if (!crypto.subtle) return undefined;
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Returns the run that processes, or has processed, this content; one that wrote nothing may be repeated. */
export async function holder(run, content) {
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
