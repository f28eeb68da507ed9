// The draft on the server: it gets every edit a moment after it was made, has it judged by the flow, and is submitted.

import { get, path, post, request } from "../api.js";
import { idOf } from "./sheet.js";

const PAUSE = 250; // after the last edit, before it is sent
const AGAIN = 3000; // after a failure
const AT_ONCE = 1000; // rows that are sent together
const JUDGED = 2000; // that are judged together
const FEW = 20; // rows that are judged first: those that a person looks at
const ATTEMPTS = 6;

/**
 * Of all reasons; `reason` is the one that the page shows, null for all. `on` is told of each change: of what is known, of
 * a `problem`, and of rows that somebody else has changed.
 */
export class Draft {
  rev = 0;
  to = null; // the flow version that judges
  known = new Map(); // all rows of the draft, also those that the page does not show
  elsewhere = new Map();
  conflicts = new Map();
  problem = "";
  isJudging = false;
  #dirty = new Set();
  #submitted = new Set();
  #timer = null;
  #sending = null;
  #saves = 0;

  constructor(flow, reason, sheet, { isReadOnly, signal, on }) {
    Object.assign(this, { flow, reason, sheet, isReadOnly, signal, on });
    this.place = path("drafts", flow);
  }

  /** Reads the draft, and what became of its rows. */
  async open() {
    const known = new Map();
    const saves = this.#saves;
    let first, cursor;
    do {
      const page = await get(this.place, { limit: 1000, cursor }, { signal: this.signal });
      for (const item of page.items) known.set(idOf(item.run, item.row), item);
      first ??= page; // what was changed since may not be among the others
      cursor = page.next_cursor;
    } while (cursor);
    if (saves !== this.#saves) return this.open();
    this.#told(first);
    this.known = known;
    // Rows that were submitted, and are in the draft no more, are mended.
    const done = new Set([...this.#submitted].filter((id) => !known.has(id)));
    for (const id of done) this.#submitted.delete(id);
    if (done.size) this.sheet.remove(done);
    for (const row of this.sheet.rows) this.fit(row);
    this.on();
  }

  /** Brings a row of the page in line with the draft; one with edits that were not sent yet keeps them. */
  fit(row) {
    const item = this.known.get(row.id);
    if (this.#dirty.has(row) || this.conflicts.has(row.id) || (item === undefined && row.rev === 0)) return;
    this.#show(row, item);
  }

  #show(row, item) {
    this.sheet.replace(row, item?.cells ?? {});
    row.rev = item?.rev ?? 0;
    row.state = item?.state ?? "open";
    row.by = item?.by;
    row.why = item && this.#isJudged(item) ? item.reasons : null;
  }

  #isJudged = (item) => item.judged_by !== null && (this.to === null || item.judged_by === this.to);

  isHere = (item) => this.reason === null || item.rejected_for.includes(this.reason);

  /** How many rows are edited, and how many of them can be submitted, by reason; each row counts once, here if it is. */
  get counts() {
    const found = new Map([[this.reason, { edited: 0, passing: 0 }]]);
    for (const item of this.known.values()) {
      const reason = this.isHere(item) ? this.reason : (item.rejected_for[0] ?? "");
      if (reason !== this.reason && item.state !== "open") continue;
      if (!found.has(reason)) found.set(reason, { edited: 0, passing: 0 });
      const of = found.get(reason);
      of.edited += 1;
      of.passing += this.#passes(item);
    }
    return found;
  }

  /** Open, and accepted as it is. */
  #passes = (item) => item.state === "open" && this.#isJudged(item) && !item.reasons.length;

  get isSettled() {
    return !this.#dirty.size && !this.conflicts.size && this.#sending === null && !this.isJudging && !this.problem;
  }

  get unsent() {
    return this.#dirty.size;
  }

  /** Some rows were edited. */
  touch(rows) {
    for (const row of rows) this.#dirty.add(row);
    this.#later(PAUSE);
    this.on();
  }

  #later(time) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), time);
  }

  /** Sends what was edited. Resolves when nothing is left to send, or it has failed. */
  async flush() {
    clearTimeout(this.#timer);
    this.#sending ??= this.#send().finally(() => {
      this.#sending = null;
      this.on();
    });
    return this.#sending;
  }

  async #send() {
    while (this.#dirty.size) {
      const rows = [...this.#dirty].slice(0, AT_ONCE);
      for (const row of rows) this.#dirty.delete(row);
      try {
        const isAlone = await this.#patch(rows);
        this.problem = "";
        if (!isAlone && !this.signal.aborted) await this.open(); // else rows would be submitted that the page does not know
      } catch (error) {
        for (const row of rows) this.#dirty.add(row);
        this.problem = error.message;
        if (!this.signal.aborted && !(error.status >= 400 && error.status < 500)) this.#later(AGAIN);
        return;
      }
    }
    if (!this.signal.aborted) this.judge();
  }

  async #patch(rows) {
    const sent = new Map(
      rows.map((row) => [row.id, { row, cells: this.sheet.isEdited(row) ? { ...row.cells } : null }]),
    );
    const changes = [...sent.values()].map(({ row, cells }) => ({
      run: row.run,
      row: row.reject,
      rev: row.rev,
      cells,
    }));
    const body = JSON.stringify({ rows: changes });
    // Short enough, it arrives even if the tab is closed meanwhile.
    const options = { body, type: "application/json", keepalive: body.length < 50_000 };
    return this.#saved(sent, await request("PATCH", this.place, options));
  }

  /** What was saved is what was sent: a row that was edited meanwhile is sent again. Whether nobody else has changed others. */
  #saved(sent, answer) {
    const isAlone = answer.rev === this.rev + answer.saved.length;
    this.#saves += 1;
    for (const one of answer.saved) {
      const { row, cells } = sent.get(idOf(one.run, one.row));
      row.rev = cells ? one.rev : 0;
      const item = { ...one, cells, judged_by: null, reasons: [], state: row.state, rejected_for: row.reasons };
      if (cells) this.known.set(row.id, item);
      else this.known.delete(row.id);
    }
    for (const one of answer.refused) this.conflicts.set(idOf(one.run, one.row), one);
    this.#told(answer);
    return isAlone;
  }

  #told(answer) {
    this.rev = answer.rev;
    this.elsewhere = new Map(answer.elsewhere.map((one) => [idOf(one.run, one.row), one]));
  }

  /** Has the flow judge what it has not judged yet. One request at a time; what is saved meanwhile is judged by the next. */
  async judge() {
    if (this.isJudging || this.isReadOnly) return;
    this.isJudging = true;
    try {
      for (let limit = FEW, more = true; more; limit = JUDGED) {
        const saves = this.#saves;
        const found = await post(`${this.place}/judge`, { limit }, { signal: this.signal });
        this.to = found.to;
        for (const one of found.items) this.#judged(one, found.to);
        more = found.more || saves !== this.#saves;
        this.on();
      }
    } catch (error) {
      if (!this.signal.aborted) this.problem = `The edited rows could not be judged: ${error.message}`;
    } finally {
      this.isJudging = false;
      this.on();
    }
  }

  #judged(one, to) {
    const id = idOf(one.run, one.row);
    const item = this.known.get(id);
    if (item?.rev !== one.rev) return;
    Object.assign(item, { judged_by: to, reasons: one.reasons });
    const row = this.sheet.row(id);
    if (row?.rev === one.rev && !this.#dirty.has(row)) row.why = one.reasons;
  }

  /** Of rows that were changed elsewhere: shows theirs, or sends ours in their place. */
  settle(isMine) {
    const rows = [];
    for (const [id, theirs] of this.conflicts) {
      const row = this.sheet.row(id);
      if (!row) continue;
      const item = theirs.cells ? { state: "open", rejected_for: row.reasons, ...theirs } : undefined;
      if (item) this.known.set(id, item);
      else this.known.delete(id);
      row.rev = theirs.rev;
      if (isMine) rows.push(row);
      else this.#show(row, item);
    }
    this.conflicts.clear();
    if (rows.length) this.touch(rows);
    else this.on();
  }

  /** Takes rows out of the draft. */
  async takeOut(items) {
    const rows = items.map((item) => ({ run: item.run, row: item.row, rev: item.rev, cells: null }));
    for (let at = 0; at < rows.length; at += AT_ONCE) {
      const body = JSON.stringify({ rows: rows.slice(at, at + AT_ONCE) });
      await request("PATCH", this.place, { body, type: "application/json" });
    }
    if (rows.length) await this.open();
  }

  /**
   * Submits what passes of the page's reason, or of all of them. Once: the revision that is named is submitted once for
   * a reason, however often it is asked for.
   */
  async submit(isAll) {
    const body = { rev: this.rev, to: this.to, reason: isAll ? null : this.reason };
    const sent = [...this.known].filter(([, item]) => this.#passes(item) && (isAll || this.isHere(item)));
    for (let attempt = 1; ; attempt++) {
      try {
        const found = await post(`${this.place}/submit`, body, { signal: this.signal });
        for (const [id] of sent) this.#submitted.add(id);
        return found;
      } catch (error) {
        const isLost = error.status === undefined || error.status >= 500;
        if (!isLost || attempt === ATTEMPTS || this.signal.aborted) throw error;
        await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** attempt));
      }
    }
  }

  /** Removes the edits of the page's reason. */
  async drop() {
    clearTimeout(this.#timer);
    try {
      await this.#sending;
      await this.open();
      await this.takeOut([...this.known.values()].filter(this.isHere));
      this.#dirty.clear();
      this.conflicts.clear();
      this.problem = "";
      for (const row of this.sheet.rows)
        if (row.rev || this.sheet.isEdited(row)) this.#show(row, this.known.get(row.id));
    } finally {
      if (this.#dirty.size) this.#later(AGAIN);
      this.on();
    }
  }
}
