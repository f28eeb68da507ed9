// Parts that several pages use.

import { el } from "./dom.js";
import { number, percent, shortId } from "./format.js";
import { rejectedShare } from "./status.js";

/** The head of a page: its trail, its title, further information, and its buttons. */
export function pageHead(trail, title, more, buttons) {
  return el(
    "header.head",
    el("div", el("p.muted", trail), el("h1", { tabindex: -1 }, title), more),
    buttons && el("div.buttons", buttons),
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
  return el("section.card", el("h2", title), ...children);
}

/** A titled card across all `columns`. */
export function wideCard(...parts) {
  const node = card(...parts);
  node.classList.add("wide");
  return node;
}

/**
 * A table with its own scroll bar if it is too wide. `columns` are [heading, class of its cells] each; `body` is a tbody to
 * fill later, or rows: each is the contents of its cells. A "stacked" table becomes a list on a phone, in which a
 * "labelled" one shows the headings beside the cells.
 */
export function table(label, columns, body, look = "") {
  const heads = columns.map(([text, look]) => el("th", { scope: "col", class: look }, text));
  const rows =
    body instanceof Node
      ? body
      : el(
          "tbody",
          body.map((cells) => tableRow(columns, cells)),
        );
  if (look.includes("labelled"))
    for (const row of rows.rows) columns.forEach(([text], index) => (row.cells[index].dataset.head = text));
  const parts = [el("caption.unseen", label), el("thead", el("tr", heads)), rows];
  const attributes = { tabindex: 0, role: "region", "aria-label": label };
  return el("div.scroll", attributes, el("table", { class: look }, parts));
}

/** A row of a table; a content that is a cell itself stays as it is. */
export function tableRow(columns, cells, look) {
  const cell = (one, index) =>
    one instanceof HTMLTableCellElement ? one : el("td", { class: columns[index][1] }, one);
  return el("tr", { class: look }, cells.map(cell));
}

/** The cell that names its row. */
export const rowHead = (...children) => el("th", { scope: "row" }, children);

/** A large figure with its name. */
export function figure(name, value, look = "", more = null) {
  return el("div", { class: `figure ${look}` }, el("dt", name), el("dd", value, more && el("small", more)));
}

export const figures = (...all) => el("dl.figures", all);

/** The number of rejected rows, and their share. */
export function rejectedFigure(name, counts) {
  const count = counts.rows_rejected;
  return figure(name, number(count), count ? "partial" : "", count ? percent(rejectedShare(counts)) : null);
}

/** "Newest" and "Older" below a list with pages; the address has the cursor. */
export function pager(here, cursor, next, words = ["Newest", "Older"]) {
  if (!cursor && !next) return null;
  return el(
    "nav.pager",
    { "aria-label": "Pages of the list" },
    cursor && el("a.button", { href: here({ cursor: null }) }, words[0]),
    next && el("a.button", { href: here({ cursor: next }) }, words[1]),
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

/** A button for an act that takes a while; a failure becomes a notice. It isn't disabled, which would lose the focus. */
export function actButton(name, act, look = "") {
  let isBusy = false;
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
  return el("button", { type: "button", class: look, on: { click } }, name);
}

/** Shows a passing notice; a problem stays until it is dismissed. */
export function notice(text, isProblem = false) {
  const note = el("div", { class: isProblem ? "notice problem" : "notice" }, el("span", text));
  const close = () => note.remove();
  note.append(el("button.quiet", { "aria-label": "Dismiss", on: { click: close } }, "×"));
  document.getElementById("notices").append(note);
  if (!isProblem) setTimeout(close, 6000);
}
