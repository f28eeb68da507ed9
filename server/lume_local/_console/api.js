// Requests: those of the public contract, and the two by which this page signs in and out.

import { secret } from "./session.js";
import { inControls } from "./words.js";

/** An error response: `kind` is the last part of its type, the message says what to do. */
class Problem extends Error {
  constructor(status, problem) {
    super(problem.detail ? inControls(problem.detail) : `the server answered with status ${status}`);
    this.status = status;
    this.kind = String(problem.type ?? "")
      .split(":")
      .pop();
    this.runId = problem.run_id;
  }
}

/** `/v1/runs/run_1/rejects` from `("runs", "run_1", "rejects")`. */
export const path = (...parts) => `/v1/${parts.map(encodeURIComponent).join("/")}`;

export const get = (where, query = {}, options = {}) => request("GET", where + search(query), options);

export const post = (where, body, options = {}) =>
  request("POST", where, {
    ...options,
    ...(body === undefined ? {} : { body: JSON.stringify(body), type: "application/json" }),
  });

/** Uploads a file under a new name; returns its source path. */
export async function upload(name, file, query = {}) {
  const options = { body: file, type: "application/octet-stream", headers: { "If-None-Match": "*" } };
  return (await request("PUT", path("uploads", name) + search(query), options)).source_path;
}

/** Exchanges the `{token}` of a link, or an issuer's response, for a session. */
export const signIn = async (given) => (await post("/console/session", given, { session: null })).session;
/** Returns the name and the role of the signed-in user. */
export const whoAmI = (options) => get("/console/session", {}, options);
export const signOut = (session = secret()) => request("DELETE", "/console/session", { session });

/** Saves a file from the server, under its name unless there is another; a plain link would lack the session. */
export async function save(where, { name, ...headers } = {}) {
  const response = await answered("GET", where, { headers, limit: LIMIT_OF_FILES });
  const given = /filename="([^"]*)"/.exec(response.headers.get("Content-Disposition") ?? "");
  saveAs(await response.blob(), name ?? given[1]);
}

/** Saves data that this page has made. */
export function saveAs(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), LIMIT);
}

const LIMIT = 60_000; // for a request, including a long poll
const LIMIT_OF_FILES = 6 * 3600_000;

export async function request(method, where, options) {
  const response = await answered(method, where, options);
  return response.status === 204 ? null : JSON.parse(await response.text(), exact);
}

/** Returns a successful response. Throws a `Problem`. */
async function answered(method, where, options) {
  const { body, type, headers = {}, signal, limit = LIMIT, keepalive, session = secret() } = options;
  const tooLate = AbortSignal.timeout(body instanceof Blob ? LIMIT_OF_FILES : limit);
  const response = await reached(where, {
    method,
    body,
    keepalive,
    signal: signal ? AbortSignal.any([signal, tooLate]) : tooLate,
    headers: {
      ...headers,
      ...(type && { "Content-Type": type }),
      ...(session !== null && { "lume-console-session": session }),
    },
    credentials: "same-origin", // for a proxy in front; the server itself uses none
    redirect: "error",
  });
  if (response.ok) return response;
  const problem = new Problem(response.status, await response.json().catch(() => ({})));
  // Not if the request has its own session, or a new session has started in the meantime.
  if (problem.status === 401 && !("session" in options) && session === secret())
    dispatchEvent(new CustomEvent("signed-out"));
  throw problem;
}

/** There was no response. */
export class Unreachable extends Error {}

/** Replaces a browser's error, which is just "Failed to fetch" or a timed-out signal. */
async function reached(where, options) {
  try {
    return await fetch(where, options);
  } catch (error) {
    if (error.name === "AbortError") throw error; // cancelled by this page
    throw new Unreachable("The server can't be reached: check that it is running, and your connection to it.");
  }
}

/** Keeps the JSON text of a number that JavaScript would change, if the browser exposes it (2025 and later). */
function exact(key, value, context) {
  const text = typeof value === "number" ? context?.source : undefined;
  if (text === undefined || Number.isSafeInteger(value) || String(value) === text) return value;
  const digits = text.replace(/e.*/i, "").replace(/[-.]/g, "").replace(/^0+/, "");
  return digits.length <= 15 && Number.isFinite(value) ? value : text;
}

function search(query) {
  const pairs = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}

/** Returns one page of a list that may have empty pages: asks until there are items or no more pages. */
export async function page(where, query, options) {
  let found = await get(where, query, options);
  while (!found.items.length && found.next_cursor) {
    found = await get(where, { ...query, cursor: found.next_cursor }, options);
  }
  return found;
}

/** Returns all items of a list, page by page. */
export async function all(where, query, options) {
  const items = [];
  let cursor;
  do {
    const found = await get(where, { ...query, cursor }, options);
    items.push(...found.items);
    cursor = found.next_cursor;
  } while (cursor);
  return items;
}

export const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** Returns a new idempotency key for a submission, the same for all its attempts. */
export const newKey = () => hex(crypto.getRandomValues(new Uint8Array(16)));
