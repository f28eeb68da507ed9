// Arrivals: the watched places, and the state of their files.

import { get, path, post, whoAmI } from "./api.js";
import { el, refill } from "./dom.js";
import { number, shortId } from "./format.js";
import { actButton, address, notice, table } from "./parts.js";
import { ageOf, nameOf } from "./status.js";
import { inControls } from "./words.js";

const LIMIT = 200;
const EVERY = 5000;
const PLACES = [
  ["Arrival"],
  ["From", "text"],
  ["Flow"],
  ["Noticed by", "text"],
  ["Waiting", "num"],
  ["Submitted", "num"],
  ["Refused", "num"],
];
const FILES = [["Arrival"], ["Path", "text"], ["State"], ["Since", "num"], ["Why", "text"], ["Run"], ["Again"]];
const FAILED = ["FAILED", "CRASHED", "CANCELLED"];

export async function show({ query, signal }) {
  const isReadOnly = (await whoAmI({ signal })).role === "read";
  const node = el("div");

  async function load() {
    const wanted = { name: query.get("name"), state: query.get("state"), limit: LIMIT };
    const found = await get("/v1/arrivals", wanted, { signal });
    refill(
      node,
      el("h1", { tabindex: -1 }, "Arrivals"),
      found.problem &&
        el("p", { role: "alert" }, `The arrivals file has changes that are not in effect: ${found.problem}`),
      found.arrivals.length
        ? section("Places", PLACES, found.arrivals.map(place))
        : el(
            "p.empty",
            "Nothing is watched: whoever runs the server can name folders and buckets whose files become runs.",
          ),
      found.files.length ? section("Files", FILES, found.files.map(row)) : el("p.empty", "No file has arrived."),
    );
  }
  const row = (one) => {
    const isFailed = one.state === "refused" || FAILED.includes(one.status);
    return [...file(one), !isReadOnly && isFailed && actButton("Take again", () => again(one).then(load))];
  };
  await load();
  // A waiting file changes no run, so the feed does not report it.
  const timer = setInterval(() => load().catch(() => {}), EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
  return { title: "Arrivals", node, update: load };
}

/** An arrival takes a failed file again, which is said; returns how it is listed then, if it is. */
export async function again({ arrival, path: one }) {
  const { items } = await post(`${path("arrivals", arrival)}/retry`, { paths: [one] });
  notice(items[0]?.why ?? (items.length ? "It has a new run." : "It has not failed any more."));
  return items[0];
}

function section(title, columns, rows) {
  return el("section.card", table(title, columns, rows, "stacked labelled"));
}

function place(one) {
  const link = (text, state) => el("a", { href: address(["arrivals"], "", { name: one.name, state }) }, text);
  const counts = ["waiting", "submitted", "refused"].map((state) => link(number(one[state]), state));
  return [link(one.name), one.uri, one.flow, one.trouble ?? one.watched ?? "not yet", ...counts];
}

function file(one) {
  const words = () => (one.status ? nameOf(one.status) : shortId(one.run_id));
  const run = one.run_id && el("a", { href: `#/runs/${one.run_id}` }, words());
  const why = [one.lies_at && `it lies at ${one.lies_at}`, one.why && inControls(one.why)];
  return [one.arrival, one.path, one.state, ageOf(one.at), why.filter(Boolean).join(": "), run];
}
