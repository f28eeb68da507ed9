// The draft on the server: it receives every edit after a short pause, has the flow judge it, and is submitted.

import { get, path, post, request } from "../api.js";
import { idOf } from "./sheet.js";

const PAUSE = 250; // ms from the last edit to sending it
const AGAIN = 3000; // ms after a failure
const AT_ONCE = 1000; // rows sent together
const JUDGED = 2000; // rows judged together
const FEW = 20; // rows judged first: those that a person sees
const ATTEMPTS = 6;

/**
 * The draft of all reasons; `reason` is the one on the page, null for all. `on` is called after each change: of known
 * rows, of `problem`, and of rows that somebody else has changed.
 */
export class Draft {
  rev = 0;
  to = null; // the flow version that judges
  known = new Map(); // all rows of the draft, including those not on the page
  elsewhere = new Map();
  submissions = []; // that wait for approval, or were answered
  conflicts = new Map();
  problem = "";
  isJudging = false;
  #dirty = new Set();
  #submitted = new Set();
  #timer = null;
  #sending = null;
  #saves = 0;

  /** `owner`: another person, whose draft waits for approval. */
  constructor(flow, reason, sheet, { owner, isReadOnly, signal, on }) {
    Object.assign(this, { flow, reason, sheet, owner, isReadOnly, signal, on });
    this.place = path("drafts", flow);
  }

  /** Loads the draft and the state of its rows. */
  async open() {
    const known = new Map();
    const saves = this.#saves;
    let first, cursor;
    do {
      const page = await get(this.place, { owner: this.owner, limit: 1000, cursor }, { signal: this.signal });
      for (const item of page.items) known.set(idOf(item.run, item.row), item);
      first ??= page; // its revision holds: the other pages may lack later changes
      cursor = page.next_cursor;
    } while (cursor);
    if (saves !== this.#saves) return this.open();
    this.#told(first);
    this.known = known;
    // Rows that were submitted and have left the draft are closed.
    const done = new Set([...this.#submitted].filter((id) => !known.has(id)));
    for (const id of done) this.#submitted.delete(id);
    if (done.size) this.sheet.remove(done);
    for (const row of this.sheet.rows) this.fit(row);
    this.on();
  }

  /** Returns whether others have answered a submission, or changed the rows of the draft. */
  async isOld() {
    if (this.unsent || this.#sending) return false;
    const { rows, submissions } = await get(this.place, { limit: 1 }, { signal: this.signal });
    return rows !== this.rows || JSON.stringify(submissions) !== JSON.stringify(this.submissions);
  }

  /** Updates a row of the page from the draft; unsent edits are kept. */
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

  /** The numbers of edited and of submittable rows by reason; each row counts once, for this page if it is here. */
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

  /** Open, and accepted as edited. */
  #passes = (item) => item.state === "open" && this.#isJudged(item) && !item.reasons.length;

  get isSettled() {
    return !this.#dirty.size && !this.conflicts.size && this.#sending === null && !this.isJudging && !this.problem;
  }

  get unsent() {
    return this.#dirty.size;
  }

  /** Records that rows were edited. */
  touch(rows) {
    for (const row of rows) this.#dirty.add(row);
    this.#later(PAUSE);
    this.on();
  }

  #later(time) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), time);
  }

  /** Sends edits. Resolves when nothing is left to send, or sending has failed. */
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
        if (!isAlone && !this.signal.aborted) await this.open(); // else rows unknown to the page would be submitted
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
    // A short request arrives even if the tab is closed in the meantime.
    const options = { body, type: "application/json", keepalive: body.length < 50_000 };
    return this.#saved(sent, await request("PATCH", this.place, options));
  }

  /** Marks sent edits as saved, unless edited since. Returns whether nobody else has changed other rows. */
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
    this.rows = answer.rows;
    this.submissions = answer.submissions;
    this.elsewhere = new Map(answer.elsewhere.map((one) => [idOf(one.run, one.row), one]));
  }

  /** Has the flow judge unjudged rows, one request at a time; rows saved in the meantime are in the next one. */
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
      if (!this.signal.aborted) this.problem = `The edited rows could not be checked: ${error.message}`;
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

  /** Resolves conflicts with rows changed elsewhere: takes theirs, or sends ours. */
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

  /** Removes rows from the draft. */
  async takeOut(items) {
    const rows = items.map((item) => ({ run: item.run, row: item.row, rev: item.rev, cells: null }));
    for (let at = 0; at < rows.length; at += AT_ONCE) {
      const body = JSON.stringify({ rows: rows.slice(at, at + AT_ONCE) });
      await request("PATCH", this.place, { body, type: "application/json" });
    }
    if (rows.length) await this.open();
  }

  /**
   * Submits the accepted rows of the page's reason, or of all. A revision is submitted only once for a reason,
   * however often this is repeated.
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

  /** Discards the edits of the page's reason. */
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
