// Parts that several pages use.

import { el } from "./dom.js";
import { number, percent, shortId } from "./format.js";
import { rejectedShare } from "./status.js";

/** The head of a page: its trail, its title, further information, and its buttons. */
export function pageHead(trail, title, more, buttons) {
  return el(
    "header",
    { class: "head" },
    el("div", {}, el("p", { class: "muted" }, trail), el("h1", { tabindex: -1 }, title), more),
    buttons && el("div", { class: "buttons" }, buttons),
  );
}

/** A choice among `options`, [value, text] each; `chosen` receives the value. */
export function select(attributes, options, value, chosen) {
  return el(
    "select",
    { ...attributes, on: { change: (event) => chosen(event.target.value) } },
    options.map(([one, text]) => el("option", { value: one, selected: one === value }, text)),
  );
}

/** A titled card. */
export function card(title, ...children) {
  return el("section", { class: "card" }, el("h2", {}, title), ...children);
}

/** A titled card across all `columns`. */
export function wideCard(...parts) {
  const node = card(...parts);
  node.classList.add("wide");
  return node;
}

/**
 * A table that scrolls by itself if it is too wide; `columns`: [heading, class] each; `body`: its rows, or a tbody to
 * fill later. A "stacked" table becomes a list on a phone, in which a "labelled" one shows the headings beside the
 * cells.
 */
export function table(label, columns, body, look = "") {
  const head = columns.map(([text, look]) => el("th", { scope: "col", class: look }, text));
  const rows = body instanceof Node ? body : el("tbody", {}, body);
  if (look.includes("labelled"))
    for (const row of rows.rows) columns.forEach(([text], index) => (row.cells[index].dataset.head = text));
  return el(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    el(
      "table",
      { class: look },
      el("caption", { class: "unseen" }, label),
      el("thead", {}, el("tr", {}, head)),
      rows,
    ),
  );
}

export const cell = (look, ...children) => el("td", { class: look }, ...children);

/** A large figure with its name. */
export function figure(name, value, look = "", more = null) {
  return el(
    "div",
    { class: `figure ${look}` },
    el("dt", {}, name),
    el("dd", {}, value, more && el("small", {}, more)),
  );
}

/** The number of rejected rows, and their share. */
export function rejectedFigure(name, counts) {
  const count = counts.rows_rejected;
  return figure(name, number(count), count ? "partial" : "", count ? percent(rejectedShare(counts)) : null);
}

/** "Newest" and "Older" below a list with pages; the address has the cursor. */
export function pager(here, cursor, next, words = ["Newest", "Older"]) {
  if (!cursor && !next) return null;
  return el(
    "nav",
    { class: "pager", "aria-label": "Pages of the list" },
    cursor && el("a", { class: "button", href: here({ cursor: null }) }, words[0]),
    next && el("a", { class: "button", href: here({ cursor: next }) }, words[1]),
  );
}

/** The address of a page with changes to its query; empty values are removed. */
export function address(path, query, changes) {
  const wanted = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "" || value === undefined) wanted.delete(name);
    else wanted.set(name, value);
  }
  const text = String(wanted);
  return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/** A link to a run. */
export const runLink = (id) => el("a", { href: `#/runs/${id}`, class: "mono" }, shortId(id));

/** A link to a flow version. */
export function flowLink(reference) {
  const [flow, version] = reference.split(":");
  return el("a", { href: address(["flows", flow], "", { version }) }, reference);
}

/** Shows a passing notice; a problem stays until it is dismissed. */
export function notice(text, isProblem = false) {
  const note = el("div", { class: isProblem ? "notice problem" : "notice" }, el("span", {}, text));
  const close = () => note.remove();
  note.append(el("button", { class: "quiet", "aria-label": "Dismiss", on: { click: close } }, "×"));
  document.getElementById("notices").append(note);
  if (!isProblem) setTimeout(close, 6000);
}
