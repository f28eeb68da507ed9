// Builds the page. A string is always text: nothing here, or anywhere else, turns one into markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `props` are attributes, `on` holds listeners; children are nodes, text, arrays, or nothing. */
export function el(name, props = {}, ...children) {
  return built(document.createElement(name), props, children);
}

/** The same for a part of a picture. */
export function svg(name, props = {}, ...children) {
  return built(document.createElementNS(SVG, name), props, children);
}

function built(node, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    // All links are this page's own, or the server's; text that others have written never becomes one.
    if (name === "href" && !/^(#|\/)/.test(value)) throw new Error(`not a link of this page: ${value}`);
    node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const [event, listener] of Object.entries(on)) node.addEventListener(event, listener);
  node.append(...flat(children));
  return node;
}

/** Puts children in place of those that are there. */
export function fill(node, ...children) {
  node.replaceChildren(...flat(children));
  return node;
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** The same, but the focus stays where it was: on the link or the button with the same words. */
export function refill(node, ...children) {
  const focused = node.contains(document.activeElement) ? document.activeElement : null;
  fill(node, ...children);
  if (focused === null) return;
  const alike = [...node.querySelectorAll(focused.tagName)];
  const same = alike.find((one) => one.textContent === focused.textContent) ?? node.querySelector("h1");
  same?.focus({ preventScroll: true });
}

/**
 * Brings the rows of a list up to date: a row that has not changed stays the node that it was, and keeps the focus.
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

/** An id for an element that another one refers to. */
export const newId = (word) => `${word}-${++count}`;
