// The open rejected rows of a flow, in a grid to correct them: `#/inbox/people?reason=…`.

import { get, path, whoAmI } from "./api.js";
import { ownColumns, readBy } from "./blame.js";
import { el, refill } from "./dom.js";
import { counted, number, shortId } from "./format.js";
import { Draft } from "./mend/draft.js";
import { Grid } from "./mend/grid.js";
import { listen } from "./mend/keys.js";
import { loadRows } from "./mend/load.js";
import { reviewing } from "./mend/review.js";
import { rowOf, Sheet } from "./mend/sheet.js";
import { Shown } from "./mend/shown.js";
import { told } from "./mend/told.js";
import { Tools } from "./mend/tools.js";
import { address, notice, select } from "./parts.js";

const OF_OBJECTS = ["ndjson", "json"];

export async function show({ parts: [, flow], query, signal }) {
  const reason = query.get("reason") || null;
  const assignee = query.get("assignee") || null;
  const [who, inbox, version] = await Promise.all([
    whoAmI({ signal }),
    get("/v1/inbox", { flow }, { signal }),
    newest(flow, signal),
  ]);
  const owner = query.get("owner") === who.name ? null : query.get("owner");
  const isReadOnly = who.role === "read" || owner !== null;
  let top = head(flow, query, inbox);
  async function ended() {
    const now = head(flow, query, await get("/v1/inbox", { flow }, { signal }));
    top.replaceWith(now);
    top = now;
  }
  const page = new Mending({ flow, reason, assignee, owner, who, isReadOnly, version, signal, ended });
  await page.open();
  const node = el(
    "div",
    el("h1", { tabindex: -1 }, `Rejected rows of ${flow}`),
    top,
    who.role === "read" && el("p.tell", "You can only read these rows. Correcting them takes a key with the role submit."),
    assignee &&
      el(
        "p.tell",
        el("span.grow", `Only rows of ${assignee}. Submit also sends your edits of the others.`),
        el("a", { href: address(["inbox", flow], query, { assignee: null }) }, "Show all"),
      ),
    page.node,
  );
  return { title: `Inbox: ${flow}`, node, update: (ids) => page.update(ids), polls: page.polls };
}

/** The version registered last, which judges. */
async function newest(flow, signal) {
  const { items } = await get("/v1/flows", { flow, limit: 1000 }, { signal });
  if (!items.length) throw new Error(`There is no flow ${flow}.`);
  const { definition } = await get(path("flows", flow, "versions", items.at(-1).version), {}, { signal });
  const { source, rejects } = definition;
  return { readings: readBy(definition), isOfObjects: OF_OBJECTS.includes(source?.format), asks: rejects?.approval };
}

/** A choice of the reason, with numbers of rows. */
function head(flow, query, inbox) {
  const reason = query.get("reason") || null;
  const all = inbox.flows.find((one) => one.flow === flow)?.open ?? 0;
  const options = [
    ["", `All reasons (${number(all)})`],
    ...inbox.items.map((item) => [item.reason, `${item.reason} (${number(item.open)})`]),
  ];
  if (reason && !inbox.items.some((item) => item.reason === reason)) options.push([reason, `${reason} (0)`]);
  const choose = (value) => {
    location.hash = address(["inbox", flow], query, { reason: value });
  };
  return el(
    "div.mend-head",
    el("label.field", "Reason", select({ name: "reason" }, options, reason ?? "", choose)),
    el("a.button", { href: "#/inbox" }, "Back to the inbox"),
  );
}

const rows = (count) => counted(count, "row");

class Mending {
  #runs = new Set(); // submitted here and not yet ended

  constructor({ flow, reason, assignee, owner, who, isReadOnly, version, signal, ended }) {
    Object.assign(this, { flow, reason, assignee, who, isReadOnly, signal, ended });
    this.polls = version.asks && owner === null;
    this.sheet = new Sheet(version.isOfObjects, (rows) => this.#edited(rows));
    this.draft = new Draft(flow, reason, this.sheet, { owner, isReadOnly, signal, on: () => this.#changed() });
    this.shown = new Shown(this.sheet, this.draft, version.readings, isReadOnly);
    this.review = owner === null ? null : reviewing(this);
    if (this.review) this.shown.filter = "edited";
    this.grid = new Grid(`Rejected rows of ${flow}`, this.shown);
    this.tools = new Tools(this.sheet, this.shown, this.grid, this.draft, () => this.#fewer());
    listen(this.grid, this.tools);
    this.told = el("div.told");
    this.empty = el("p.empty", { hidden: true }, "No row is open here.");
    this.state = el("p.state", { role: "status" });
    this.button = el("button.primary", { on: { click: () => this.#submit(false) } }, "Submit");
    this.others = el("div.others");
    this.node = el(
      "div",
      this.review?.node,
      this.tools.node,
      this.told,
      this.empty,
      this.grid.node,
      el("div.submit-bar", !isReadOnly && this.button, this.state, !isReadOnly && this.others),
    );
    signal.addEventListener("abort", () => this.draft.flush()); // the next page does not wait for it
    addEventListener("pagehide", () => this.draft.flush(), { signal });
    addEventListener("beforeunload", (event) => this.draft.unsent && event.preventDefault(), { signal });
  }

  async open() {
    await this.draft.open();
    this.#load();
    if (!this.isReadOnly) this.draft.judge();
  }

  #load() {
    const own = ownColumns(this.shown.readings);
    const got = (items, progress) => {
      this.progress = progress;
      const rows = items.map((item) => rowOf(own(item)));
      this.sheet.add(rows);
      for (const row of rows) this.draft.fit(this.sheet.row(row.id));
      this.#reset();
    };
    loadRows(this.flow, this.reason, this.assignee, this.signal, got).catch(
      (error) => this.signal.aborted || notice(error.message, true),
    );
  }

  /** Handles changed runs: some submitted here may have ended, or others may have answered. */
  async update(ids) {
    const ended = [...this.#runs].filter((id) => ids === null || ids.has(id));
    if (!ended.length && !(this.polls && (await this.draft.isOld()))) return;
    for (const id of ended) {
      const run = await get(`/v1/runs/${id}`, {}, { signal: this.signal });
      if (run.finished_at === null) continue;
      this.#runs.delete(id);
      const { rows_mapped: mapped, rows_rejected: rejected } = run.metadata.metrics;
      const again = rejected ? `, ${number(rejected)} rejected again` : "";
      notice(`Run ${shortId(id)} has ended ${run.status}: ${rows(mapped)} accepted${again}.`, !mapped);
    }
    await this.draft.open(); // corrected rows leave the page
    await this.#fewer();
  }

  /** Handles rows that have left the inbox: there may be room for others. */
  async #fewer() {
    this.#reset();
    if (this.progress?.isFull) this.#load();
    await this.ended();
  }

  #reset() {
    this.shown.choose();
    this.empty.hidden = this.shown.count > 0 || !this.progress?.isDone;
    this.grid.node.hidden = this.shown.count === 0;
    this.grid.reset();
    if (this.shown.count && !this.isPlaced) {
      this.isPlaced = true; // the cursor starts in the column that the reason is about
      const name = this.shown.columnOf(this.reason ?? this.shown.rows[0].reasons[0] ?? "");
      if (name) this.grid.cursor.set(0, this.shown.indexOf(name));
      this.grid.reveal();
    }
    this.#changed();
  }

  #edited(rows) {
    this.draft.touch(rows);
    this.grid.draw();
  }

  #changed() {
    this.grid.draw();
    this.tools.changed();
    if (this.review) this.review.draw();
    else told(this.told, this);
    const counts = this.draft.counts;
    const { passing } = counts.get(this.reason);
    const isFree = this.draft.isSettled && !this.isSubmitting;
    this.state.textContent = this.#words(counts.get(this.reason));
    this.button.textContent = `Submit ${counted(passing, "corrected row")}`;
    this.button.disabled = passing === 0 || !isFree;
    this.#showOthers(counts, isFree);
    this.node.setAttribute("aria-busy", String(!this.progress?.isDone));
  }

  /** The edits of other reasons, which only the second button sends. */
  #showOthers(counts, isFree) {
    const all = [...counts].reduce((sum, [, { passing }]) => sum + passing, 0);
    const link = (reason) => el("a", { href: address(["inbox", this.flow], "", { reason }) }, reason);
    const line = ([reason, { edited, passing }]) => [
      `${rows(passing)} of `,
      reason === this.reason ? "this page" : link(reason),
      edited > passing && `; ${number(edited - passing)} more edited, not accepted yet`,
    ];
    const submit = { disabled: !all || !isFree, on: { click: () => this.#submit(true) } };
    refill(
      this.others,
      counts.size > 1 && [
        el("p", "Your draft also has edits for other reasons. They stay there, unless you submit all:"),
        el("ul", ...[...counts].map((one) => el("li", line(one)))),
        el("button", submit, `Submit all ${rows(all)}`),
      ],
    );
  }

  #words({ edited, passing: accepted }) {
    const { progress, draft, isReadOnly } = this;
    if (draft.problem) return draft.problem;
    const count = `${rows(this.sheet.rows.length)}${progress?.isDone ? "" : " so far"}`;
    if (isReadOnly) return count;
    if (draft.unsent) return `${count}. Saving …`;
    if (draft.isJudging) return `${count}, ${number(edited)} edited and saved. The flow checks them …`;
    if (!edited)
      return `${count}. Double-click or press Enter to edit a cell; nothing is submitted before you press Submit.`;
    const passing = `${number(accepted)} would be accepted by ${draft.to}`;
    return `${count}, ${number(edited)} edited and saved: ${passing}. Edits are kept for 30 days after the last one.`;
  }

  async #submit(isAll) {
    this.isSubmitting = true;
    this.#changed();
    try {
      const { rows: count, runs } = await this.draft.submit(isAll);
      for (const run of runs) this.#runs.add(run.id);
      const as = runs.map((run) => `run ${shortId(run.id)}`).join(", ");
      const then = runs.length ? `submitted as ${as}` : "submitted: another person has to approve them";
      notice(count ? `${rows(count)} ${then}.` : "No row was submitted.");
      await this.draft.open();
      await this.update(null);
    } catch (error) {
      if (error.kind === "draft-changed") await this.draft.open();
      notice(error.message, true);
    } finally {
      this.isSubmitting = false;
      this.#changed();
    }
  }
}
