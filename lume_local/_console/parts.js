// Pieces that several pages have.

import { el } from "./dom.js";

/** A titled part of a page. */
export function card(title, ...children) {
  return el("section", { class: "card" }, el("h2", {}, title), ...children);
}

/** A table that scrolls by itself where it is too wide; `columns`: [heading, class] each. One that is "stacked" becomes
 * a list on a phone. */
export function table(label, columns, body, look = null) {
  const head = columns.map(([text, look]) => el("th", { scope: "col", class: look }, text));
  return el(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    el(
      "table",
      { class: look },
      el("caption", { class: "unseen" }, label),
      el("thead", {}, el("tr", {}, head)),
      body,
    ),
  );
}

export const cell = (look, ...children) => el("td", { class: look }, ...children);

/** A big figure with its name. */
export function figure(name, value, look = "", more = null) {
  return el(
    "div",
    { class: `figure ${look}` },
    el("dt", {}, name),
    el("dd", {}, value, more && el("small", {}, more)),
  );
}

/** "Newest" and "Older" below a list that is read page by page; the address has the cursor. */
export function pager(here, cursor, next, words = ["Newest", "Older"]) {
  if (!cursor && !next) return null;
  return el(
    "nav",
    { class: "pager", "aria-label": "Pages of the list" },
    cursor && el("a", { class: "button", href: here({ cursor: null }) }, words[0]),
    next && el("a", { class: "button", href: here({ cursor: next }) }, words[1]),
  );
}

/** The address of a page with some of its query changed; what is empty is left out. */
export function address(path, query, changes) {
  const wanted = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "" || value === undefined) wanted.delete(name);
    else wanted.set(name, value);
  }
  const text = String(wanted);
  return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/** A link to a flow version. */
export function flowLink(reference) {
  const [flow, version] = reference.split(":");
  return el("a", { href: address(["flows", flow], "", { version }) }, reference);
}

/** Says something that passes; a problem stays until it is dismissed. */
export function notice(text, isProblem = false) {
  const note = el("div", { class: isProblem ? "notice problem" : "notice" }, el("span", {}, text));
  const close = () => note.remove();
  note.append(el("button", { class: "quiet", "aria-label": "Dismiss", on: { click: close } }, "×"));
  document.getElementById("notices").append(note);
  if (!isProblem) setTimeout(close, 6000);
}
