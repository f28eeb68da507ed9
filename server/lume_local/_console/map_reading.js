// How a file is read: what was detected, and the controls to say otherwise.

import { el, newId } from "./dom.js";
import { counted } from "./format.js";
import { select } from "./parts.js";

const ENCODINGS = "utf-8 cp1252 cp1250 cp850 iso-8859-1 iso-8859-15 utf-16 mac-roman shift_jis".split(" ");
const DELIMITERS = {
  ",": "comma",
  ";": "semicolon",
  "\t": "tab",
  "|": "vertical bar",
  ":": "colon",
  " ": "blank",
  "~": "tilde",
};
const OF_ROWS = ["csv", "fixed", "excel"];
const ANY = [["", "detected"]];

/**
 * The controls of a file. `sample` is what was read of it, null if nothing could be; `known` what a person has said, a
 * part of `[source]`. `change` receives what they say now: undefined is detected again, and null forgets all of `known`.
 */
export function readingOf(sample, known, change) {
  const source = sample?.source ?? {};
  const kind = source.format;
  const text = kind === "fixed" ? "fixed" : "csv";
  const within = (table, name) => (value) => change({ [table]: { [name]: value || undefined } });
  const members = (value) => change({ members: value || undefined });
  const of = (table, name) => source[table]?.[name] ?? known[table]?.[name];
  const is = (...kinds) => !kind || kinds.includes(kind);
  const isArchive = !kind || sample.members?.length > 1;
  const sheet = () => oneOf("sheet", sample?.sheets, of("excel", "sheet"), within("excel", "sheet"));
  const member = () => oneOf("member", sample?.members, source.members ?? known.members, members, escaped);
  const shown = [
    is("csv", "fixed") &&
      field("Encoding", encoding(of(text, "encoding") ?? (kind && "utf-8"), within(text, "encoding"))),
    is("csv") && field("Delimiter", delimiter(of("csv", "delim"), within("csv", "delim"))),
    is("excel") && field("Sheet", sheet()),
    isArchive && field("File in the archive", member()),
    is(...OF_ROWS) && field("Line of the header (0: none)", header(known, sample, change)),
    is(...OF_ROWS) && field("Footer lines begin with", footer(source.footer ?? known.footer ?? {}, change)),
  ];
  const again = el("button", { type: "button", on: { click: () => change(null) } }, "Detect all");
  return el("div.filters.reading", shown, Object.keys(known).length > 0 && again);
}

/** The answers to the question whether the last lines are records, until a person has given one. */
export function footerAnswers(sample, known, change) {
  if (!sample.footer?.length || "footer" in known) return null;
  const answer = (text, footer) => el("button", { type: "button", on: { click: () => change({ footer }) } }, text);
  const buttons = [answer("They are a footer", { starts_with: sample.footer }), answer("They are records", null)];
  return el("div.buttons", { role: "group", "aria-label": `Lines with ${sample.footer.join(", ")}` }, buttons);
}

const field = (name, control) => el("label.field", name, control);

function input(attributes, value, changed) {
  const on = { change: (event) => changed(event.target.value.trim()) };
  return el("input", { placeholder: "detected", ...attributes, value: value ?? "", on });
}

function encoding(value, changed) {
  const list = newId("encodings");
  return [
    input({ name: "encoding", list }, value, changed),
    el(
      "datalist",
      { id: list },
      ENCODINGS.map((one) => el("option", { value: one })),
    ),
  ];
}

function delimiter(value, changed) {
  const names = value && !(value in DELIMITERS) ? { ...DELIMITERS, [value]: value } : DELIMITERS;
  return select({ name: "delimiter" }, [...(value ? [] : ANY), ...Object.entries(names)], value ?? "", changed);
}

/** A choice among names, if they are known; `patterned` makes a pattern of one. */
function oneOf(name, names, value, changed, patterned = (one) => one) {
  const chosen = String([value ?? ""].flat()[0]);
  if (!names?.length) return input({ name }, chosen, changed);
  const options = names.map((one) => [patterned(one), one]);
  const isOther = chosen !== "" && !options.some(([one]) => one === chosen);
  const first = isOther ? [[chosen, `all like ${chosen}`]] : chosen === "" ? ANY : [];
  return select({ name }, [...first, ...options], chosen, changed);
}

const escaped = (name) => name.replace(/[*?[]/g, "[$&]");

function header(known, sample, change) {
  const value = known.header === "none" ? 0 : known.header === null ? 1 : known.header?.row;
  return input({ name: "header", type: "number", min: 0, max: 100 }, value, (line) => {
    if (line === "") return change({ header: undefined, names: undefined });
    const names = (sample?.columns ?? ["column"]).map((_, n) => `column_${n + 1}`);
    if (line === "0") return change({ header: "none", names });
    return change({ header: line === "1" ? null : { row: Number(line) }, names: null });
  });
}

function footer({ starts_with: begins = [], rows }, change) {
  const value = rows ? counted(rows, "line") : begins.join(", ");
  return input({ name: "footer", placeholder: "none" }, value, (text) => {
    const starts_with = text.split(",").map((one) => one.trim());
    change({ footer: text ? { starts_with: starts_with.filter(Boolean) } : null });
  });
}
