// Arrivals: the watched places, and the state of their files.

import { get } from "./api.js";
import { el, refill } from "./dom.js";
import { number, shortId } from "./format.js";
import { address, cell, table } from "./parts.js";
import { ageOf, nameOf } from "./status.js";

const LIMIT = 200;
const EVERY = 5000;
const PLACES = [
  ["Arrival"],
  ["From"],
  ["Flow"],
  ["Noticed by"],
  ["Waiting", "num"],
  ["Submitted", "num"],
  ["Refused", "num"],
];
const FILES = [["Arrival"], ["Path"], ["State"], ["Since", "num"], ["Why"], ["Run"]];

export async function show({ query, signal }) {
  const node = el("div", {});

  async function load() {
    const wanted = { name: query.get("name"), state: query.get("state"), limit: LIMIT };
    const found = await get("/v1/arrivals", wanted, { signal });
    refill(
      node,
      el("h1", { tabindex: -1 }, "Arrivals"),
      found.problem &&
        el("p", { role: "alert" }, `The present content of the arrivals file is not in effect: ${found.problem}`),
      found.arrivals.length
        ? section("Places", PLACES, found.arrivals.map(place))
        : el("p", { class: "empty" }, "Nothing is watched: start the server with --arrivals."),
      found.files.length
        ? section("Files", FILES, found.files.map(file))
        : el("p", { class: "empty" }, "No file has arrived."),
    );
  }
  await load();
  // A waiting file changes no run, so the feed does not report it.
  const timer = setInterval(() => load().catch(() => {}), EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
  return { title: "Arrivals", node, update: load };
}

function section(title, columns, rows) {
  return el("section", { class: "card" }, table(title, columns, rows, "stacked labelled"));
}

function place(one) {
  return el(
    "tr",
    {},
    cell("", el("a", { href: address(["arrivals"], "", { name: one.name }) }, one.name)),
    cell("text", one.uri),
    cell("", one.flow),
    cell("text", one.trouble ?? one.watched ?? "not yet"),
    cell("num", counted(one, "waiting")),
    cell("num", counted(one, "submitted")),
    cell("num", counted(one, "refused")),
  );
}

function counted(one, state) {
  return el("a", { href: address(["arrivals"], "", { name: one.name, state }) }, number(one[state]));
}

function file(one) {
  return el(
    "tr",
    {},
    cell("", one.arrival),
    cell("text", one.path),
    cell("", one.state),
    cell("num", ageOf(one.at)),
    cell("text", one.why ?? ""),
    cell("", one.run_id ? el("a", { href: `#/runs/${one.run_id}` }, one.status ? nameOf(one.status) : shortId(one.run_id)) : ""),
  );
}
