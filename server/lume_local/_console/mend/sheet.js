// The rejected rows of a flow under edit: their cells, and the undo history. It knows neither server nor page.

import { fileName, isReplay } from "../format.js";

const OWN = "_lume_";
export const RAW = `${OWN}raw`;
const MOST_UNDONE = 100; // steps

/** A value as text for people. */
export function textOf(value) {
  if (value === null || value === undefined) return "";
  return isObject(value) ? JSON.stringify(value) : String(value);
}

const isObject = (value) => value !== null && typeof value === "object";

/** Why a row is rejected, as edited if that is known. */
export const reasonsOf = (row) => row.why ?? row.reasons;

export const idOf = (run, reject) => `${run}/${reject}`;

/** A column's heading. */
export const labelOf = (name) => (name === RAW ? "Malformed line" : name);

/** Where a rejected row is in its file, for people: the path of an object, the line of a text, else its row. */
export function placeOf(item, file = item._lume_file) {
  if (item._lume_path) return item._lume_path; // a malformed line of a flow with objects has an empty one
  const unit = item._lume_line && !/\.(xls[xmb]?|ods)$/i.test(file) ? "line" : "row"; // of a sheet
  return `${unit} ${item._lume_line || (item._lume_row ?? "?")}`;
}

export const inLayout = (place, { layout }) => (layout ? `${place} · ${layout}` : place);

/** A row of `GET /v1/rejects`. `cells` has its edited cells, `why` the reasons after the edits, null if unknown. */
export function rowOf(item) {
  const values = Object.fromEntries(Object.entries(item).filter(([name]) => !name.startsWith(OWN)));
  if (item[RAW] !== undefined && item[RAW] !== null) values[RAW] = item[RAW];
  const source = isReplay(item._lume_source ?? "") ? "" : item._lume_source; // rows of several files
  const file = item._lume_file || source || "";
  const place = placeOf(item, file);
  const whole = [fileName(file), place].filter(Boolean).join(", ");
  return {
    id: idOf(item._lume_run, item._lume_reject),
    run: item._lume_run,
    reject: item._lume_reject,
    place: item._lume_file ? whole : place,
    whole, // with the file
    identity: Object.fromEntries(Object.entries(item).filter(([name]) => /^_lume_(row|line|file)$/.test(name))),
    layout: item._lume_layout ?? "",
    assignee: item._lume_assignee ?? "",
    comment: item._lume_comment ?? "",
    reasons: item._lume_reasons,
    values,
    cells: {},
    rev: 0,
    why: null,
    state: "open",
  };
}

/** Rows, their columns, and changes that can be undone; `changed` receives the changed rows. */
export class Sheet {
  rows = [];
  columns = [];
  objects = new Set(); // columns in which some values are objects or lists
  #byId = new Map();
  #done = [];
  #undone = [];

  /** `mayAdd`: whether a row may gain a column that it lacks, as an object may. */
  constructor(mayAdd, changed) {
    this.mayAdd = mayAdd;
    this.changed = changed;
  }

  add(rows) {
    const known = new Set(this.columns);
    for (const row of rows) {
      if (this.#byId.has(row.id)) continue;
      this.#byId.set(row.id, row);
      this.rows.push(row);
      for (const [name, value] of Object.entries(row.values)) {
        if (isObject(value)) this.objects.add(name);
        if (known.has(name)) continue;
        known.add(name);
        this.columns.push(name);
      }
    }
    const raw = this.columns.indexOf(RAW);
    if (raw >= 0) this.columns.push(...this.columns.splice(raw, 1)); // always last
  }

  remove(ids) {
    this.rows = this.rows.filter((row) => !ids.has(row.id));
    for (const id of ids) {
      const row = this.#byId.get(id);
      if (row) this.replace(row, {});
      this.#byId.delete(id);
    }
  }

  row = (id) => this.#byId.get(id);

  valueOf = (row, name) => (name in row.cells ? row.cells[name] : row.values[name]);

  textOf = (row, name) => textOf(this.valueOf(row, name));

  isEdited = (row) => Object.keys(row.cells).length > 0;

  /** Whether a cell can be edited: not if it holds an object, whose parts the flow reads. */
  canEdit(row, name) {
    if (row.state !== "open" || isObject(row.values[name])) return false;
    return name in row.values || (this.mayAdd && name !== RAW);
  }

  /** Changes cells, `{row, name, text}` each, as one step to undo; returns how many differ now. */
  edit(changes) {
    const step = [];
    for (const { row, name, text } of changes) {
      if (!this.canEdit(row, name) || this.textOf(row, name) === text) continue;
      step.push({ row, name, before: row.cells[name] });
      this.#put(row, name, text === textOf(row.values[name]) ? undefined : text === "" ? null : text);
    }
    if (step.length) {
      this.#done.push(step);
      if (this.#done.length > MOST_UNDONE) this.#done.shift();
      this.#undone = [];
      this.#tell(step);
    }
    return step.length;
  }

  undo = () => this.#back(this.#done, this.#undone);
  redo = () => this.#back(this.#undone, this.#done);
  canUndo = () => this.#done.length > 0;
  canRedo = () => this.#undone.length > 0;

  /** Takes over cells that somebody else has changed, without an undo step. */
  replace(row, cells) {
    row.cells = { ...cells };
    for (const steps of [this.#done, this.#undone])
      for (let n = steps.length - 1; n >= 0; n--) {
        steps[n] = steps[n].filter((one) => one.row !== row);
        if (!steps[n].length) steps.splice(n, 1);
      }
  }

  /** Returns other open rows with the same value in a column. */
  alike(row, name, text) {
    return this.rows.filter((one) => one !== row && this.canEdit(one, name) && this.textOf(one, name) === text);
  }

  #back(from, to) {
    const step = from.pop();
    if (!step) return null;
    const opposite = step.map(({ row, name }) => ({ row, name, before: row.cells[name] }));
    for (const { row, name, before } of step) this.#put(row, name, before);
    to.push(opposite);
    this.#tell(step);
    return step[0];
  }

  #put(row, name, value) {
    if (value === undefined) delete row.cells[name];
    else row.cells[name] = value;
  }

  #tell(step) {
    const rows = [...new Set(step.map(({ row }) => row))];
    for (const row of rows) row.why = null;
    this.changed(rows);
  }
}
