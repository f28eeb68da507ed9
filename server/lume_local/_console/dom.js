// Builds the page. A string is always text: no code turns one into markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Creates an element from a name like "p" or "p.muted", which has the class muted. An object after it has attributes,
 * and listeners in `on`; children are nodes, text, arrays, or nothing.
 */
export function el(name, ...parts) {
  return built(name, parts, (tag) => document.createElement(tag));
}

/** Creates an SVG element. */
export function svg(name, ...parts) {
  return built(name, parts, (tag) => document.createElementNS(SVG, tag));
}

function built(name, parts, create) {
  const [tag, ...looks] = name.split(".");
  const node = create(tag);
  if (looks.length) node.setAttribute("class", looks.join(" "));
  const { on = {}, ...attributes } = parts[0]?.constructor === Object ? parts.shift() : {};
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    // Links lead only to this page or the server; text written by others never becomes one.
    if (name === "href" && !/^(#|\/)/.test(value)) throw new Error(`not a link of this page: ${value}`);
    node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const [event, listener] of Object.entries(on)) node.addEventListener(event, listener);
  node.append(...flat(parts));
  return node;
}

/** Replaces the children of a node. */
export function fill(node, ...children) {
  node.replaceChildren(...flat(children));
  return node;
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Replaces the children, but keeps the focus on the link or button with the same text. */
export function refill(node, ...children) {
  const focused = node.contains(document.activeElement) ? document.activeElement : null;
  fill(node, ...children);
  if (focused === null) return;
  const alike = [...node.querySelectorAll(focused.tagName)];
  const same = alike.find((one) => one.textContent === focused.textContent) ?? node.querySelector("h1");
  same?.focus({ preventScroll: true });
}

/**
 * Updates the rows of a list: an unchanged row keeps its node, and so the focus.
 * `key` identifies an item, `render` makes its node.
 */
export function reconcile(parent, items, key, render) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  const nodes = items.map((item) => {
    const id = key(item);
    const state = JSON.stringify(item);
    const there = old.get(id);
    if (there?.state === state) return there;
    const node = render(item);
    node.dataset.key = id;
    node.state = state;
    return node;
  });
  const focused = document.activeElement?.closest("[data-key]");
  const lost = focused?.parentNode === parent && !nodes.includes(focused) ? focused.dataset.key : null;
  if (nodes.length !== parent.children.length || nodes.some((node, i) => node !== parent.children[i])) {
    parent.replaceChildren(...nodes);
  }
  if (lost)
    nodes
      .find((node) => node.dataset.key === lost)
      ?.querySelector("a, button")
      ?.focus();
}

let count = 0;

/** Returns an ID for an element that another one refers to. */
export const newId = (word) => `${word}-${++count}`;
