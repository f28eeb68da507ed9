// The layouts of a proposal: for each, the source of every target column.

import { el, fill } from "./dom.js";
import { counted, fileName } from "./format.js";
import { drawRow } from "./map_row.js";
import { card, notice, table } from "./parts.js";

const COLUMNS = [["Target"], ["Source"], ["Values"], ["Grade and evidence"], ["Review"]];

const sentence = (text) => (/[.?]$/.test(text) ? text : `${text}.`);

/** Questions for a person. */
export const doubtList = (all) =>
  el(
    "ul.doubts",
    all.map((one) => el("li", sentence(one))),
  );

/** `node` has a card for each layout that reads one of the files; `draw` updates them. */
export function layoutCards(mapping) {
  const node = el("div");
  const cards = new Map(); // by the files that the layout reads: its name may change

  function draw() {
    const { layouts } = mapping.proposal;
    const nodes = layouts.map((layout) => {
      const key = JSON.stringify(layout.samples);
      if (!cards.has(key)) cards.set(key, cardOf(mapping, layout.is_new || layouts.length === 1));
      cards.get(key).draw(layout, layouts.length > 1);
      return cards.get(key).node;
    });
    if (nodes.length !== node.children.length || nodes.some((one, index) => one !== node.children[index]))
      node.replaceChildren(...nodes);
  }
  return { node, draw };
}

function cardOf(mapping, isOpen) {
  const title = el("span");
  const about = el("div");
  const body = el("tbody");
  const rows = new Map();
  const columns = el("div");
  const approve = el(
    "button",
    { type: "button", on: { click: () => approveCertain(mapping, present) } },
    "Approve certain columns",
  );
  const parts = el("details", { open: isOpen }, el("summary", "Columns"), el("div.buttons.gap", approve), columns);
  let present = null;
  let [drawn, named] = [null, null];

  function draw(layout, isOneOfSeveral) {
    present = layout;
    const { name, samples } = layout;
    const of = isOneOfSeveral && name ? ` in ${name}` : "";
    const state = JSON.stringify([{ ...layout, columns: [] }, mapping.proposal.target]);
    if (drawn !== state) fill(about, aboutLayout(mapping, layout));
    if (named !== `${name}${of}`) {
      title.textContent = name ? `Layout ${name}` : "Columns";
      fill(columns, table(`Columns${of}`, COLUMNS, body, "stacked map"));
    }
    [drawn, named] = [state, `${name}${of}`];
    const read = mapping.proposal.samples.filter((sample) => samples.includes(sample.name));
    const names = [...new Set(read.flatMap((sample) => sample.columns))];
    const decisions = mapping.decisions.of(name);
    for (const column of layout.columns) {
      if (!rows.has(column.name)) rows.set(column.name, el("tr"));
      const change = (fields) => mapping.change(present.name, column.name, fields);
      drawRow(rows.get(column.name), column, `${column.name}${of}`, decisions[column.name] ?? {}, names, change);
    }
    const nodes = layout.columns.map((column) => rows.get(column.name));
    if (nodes.some((node, index) => node !== body.children[index])) body.replaceChildren(...nodes);
  }
  return { node: card(title, about, parts), draw };
}

function aboutLayout(mapping, { name, is_new, samples, unused, doubts }) {
  const { proposal } = mapping;
  const isOnlyNew = is_new && proposal.layouts.filter((layout) => layout.is_new).length === 1;
  const isOnly = proposal.layouts.length === 1; // another sender's file may fit it by chance
  const renamed = async ({ target }) => {
    await mapping.rename(name, target.value.trim());
    target.value = is_new ? name : ""; // if it was refused: else there is another input
  };
  const files = samples.map(fileName).join(", ");
  return [
    !is_new &&
      el(
        "p",
        name ? `${proposal.target} has this layout: it reads ${files}.` : `${proposal.target} reads ${files}.`,
      ),
    (is_new ? name && isOnlyNew : isOnly) &&
      el(
        "label.field.inline",
        is_new ? "Name of the layout" : "Or add a new layout for such files, called",
        el("input", { name: "layout", value: is_new ? name : "", maxlength: 64, on: { change: renamed } }),
      ),
    doubts.length > 0 && doubtList(doubts),
    unused.length > 0 && el("p.muted", `Unused columns: ${unused.join(", ")}.`),
  ];
}

function approveCertain({ decisions, onChange }, { name: layout, columns }) {
  const known = decisions.of(layout);
  const isCertain = ({ name, chosen }) =>
    chosen?.grade === "certain" && !chosen.doubts.length && !known[name]?.review;
  const certain = columns.filter(isCertain);
  for (const { name } of certain) decisions.change(layout, name, { review: "approved" });
  onChange();
  notice(certain.length ? `${counted(certain.length, "column")} approved.` : "No other column is certain.");
}
