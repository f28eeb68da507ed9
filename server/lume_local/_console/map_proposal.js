// The proposal for files, and a person's decisions so far, which are stored with the tab: they survive a reload.

import { path, post } from "./api.js";
import { notice } from "./parts.js";

const LONGEST = 3600_000; // a trial takes as long as a run
const OF_VERSION = ["sources", "reading", "lookup"];

/**
 * `proposal` has the form of the contract, `decisions` that of `decisionsOf`. `onChange` is called after a change of
 * either, `onBusy` when the server starts or stops working on a proposal.
 */
export class Mapping {
  #turn = 0;
  #asked = ""; // the decisions that the proposal was made with
  #before = Promise.resolve(); // the server makes one proposal at a time
  refusals = 0;

  constructor(flow, files, decisions, signal) {
    Object.assign(this, { flow, files, decisions, signal, onChange: () => {}, onBusy: () => {} });
  }

  /** Makes the first proposal; of decisions about other files, or an earlier version, those stay that fit. */
  async load() {
    const earlier = this.decisions.kept;
    try {
      return await this.ask();
    } catch (error) {
      if (error.status !== 422 || !(Object.keys(earlier.choices).length || earlier.layout)) throw error;
      notice(`Some of your earlier decisions no longer fit. ${error.message}`, true);
    }
    const without = { ...NOTHING, sources: earlier.sources };
    this.decisions.restore(without);
    await this.ask();
    this.decisions.adopt(earlier, this.proposal);
    return this.ask().catch(() => {
      this.decisions.restore(without);
      return this.ask();
    });
  }

  /** Requests the proposal for all decisions; does nothing if a later request was made, which gets the answer. */
  async ask(more = {}) {
    const mine = ++this.#turn;
    this.onBusy(true);
    const asked = this.#before.then(() => (mine === this.#turn ? this.#answer(more) : null));
    this.#before = asked.catch(() => {});
    try {
      const found = await asked;
      if (mine !== this.#turn) return null;
      this.onChange();
      return found;
    } catch (error) {
      if (mine !== this.#turn) return null;
      throw error;
    } finally {
      if (mine === this.#turn) this.onBusy(false);
    }
  }

  async #answer(more) {
    const { kept } = this.decisions;
    const sources = this.files.map((file) => kept.sources[file] ?? null);
    const fixed = { samples: this.files, sources, inline_lookups: true };
    const body = { ...fixed, choices: kept.choices, layout: kept.layout || null, ...more };
    const options = { signal: this.signal, limit: LONGEST };
    this.proposal = await post(path("flows", this.flow, "proposals"), body, options);
    this.#asked = JSON.stringify(kept);
    return this.proposal;
  }

  /** Returns the proposal with the current state of the review in its file. */
  async fresh() {
    while (this.#asked !== JSON.stringify(this.decisions.kept)) await this.ask();
    return this.proposal;
  }

  /** Makes a decision about a column in a layout; one that changes the version is sent at once. */
  async change(layout, name, fields) {
    const isSent = OF_VERSION.some((field) => field in fields);
    await this.#try(() => this.decisions.change(layout, name, fields), isSent);
  }

  /** Makes a decision about how a file is read, see `readingOf`. */
  async read(file, fields) {
    await this.#try(() => this.decisions.read(file, fields));
  }

  async rename(before, layout) {
    await this.#try(() => this.decisions.rename(before, layout));
  }

  /** A change that the server refuses is undone. */
  async #try(change, isSent = true) {
    const before = this.decisions.kept;
    change();
    this.onChange();
    if (!isSent) return;
    try {
      await this.ask();
    } catch (error) {
      if (this.signal.aborted) return;
      this.decisions.restore(before);
      this.refusals++;
      this.onChange();
      notice(error.message, true);
    }
  }

  /** The layouts that the next version adds or changes. */
  get changed() {
    const isDecided = ({ name }) =>
      Object.values(this.decisions.of(name)).some((one) => OF_VERSION.some((field) => field in one));
    return this.proposal.layouts.filter((layout) => layout.is_new || isDecided(layout));
  }

  /** The columns that still need a decision. */
  get open() {
    const isOpen = (layout, { name, chosen }) => !chosen && this.decisions.of(layout)[name]?.sources?.length !== 0;
    return this.changed.flatMap(({ name, columns }) => columns.filter((column) => isOpen(name, column)));
  }
}

const PREFIX = "lume-map:";
const TABLES = ["csv", "fixed", "excel"]; // of `[source]`, in which fields are changed singly
const NOTHING = { choices: {}, sources: {}, layout: "", first: "" };

/**
 * The decisions for a flow and its first file: `choices` by target column and `sources` by file, in the form of the
 * contract, the name of the new layout, and the first one that it had.
 */
export function decisionsOf(flow, file) {
  const key = `${PREFIX}${flow}:${file}`;

  return {
    kept: { ...NOTHING, ...JSON.parse(sessionStorage.getItem(key) ?? "{}") },

    /** Returns the decisions about a layout, by column; of "", those about a version without layouts. */
    of(layout) {
      const all = Object.entries(this.kept.choices);
      return Object.fromEntries(
        all.map(([name, { layouts, ...own }]) => [name, layout ? (layouts?.[layout] ?? {}) : own]),
      );
    },

    /** Replaces all decisions, for example by those before a refused change. */
    restore(others) {
      const text = JSON.stringify(others);
      this.kept = JSON.parse(text); // without removed fields
      sessionStorage.setItem(key, text);
    },

    /** Changes fields of a decision; undefined removes a field. */
    change(layout, name, fields) {
      const now = { ...this.of(layout)[name], ...fields };
      const before = this.kept.choices[name] ?? {};
      const changed = layout
        ? { ...before, layouts: { ...before.layouts, [layout]: now } }
        : { ...now, layouts: before.layouts };
      this.restore({ ...this.kept, choices: { ...this.kept.choices, [name]: changed } });
    },

    /** Changes what is known of how a file is read; undefined removes a field, and null all. */
    read(file, fields) {
      const before = this.kept.sources[file] ?? {};
      const known = { ...before, ...fields };
      for (const table of TABLES) if (fields?.[table]) known[table] = { ...before[table], ...fields[table] };
      this.restore({ ...this.kept, sources: { ...this.kept.sources, [file]: fields ? known : undefined } });
    },

    /** Gives the new layout a name; the decisions about it stay. */
    rename(before, layout) {
      const moved = ({ layouts: { [before]: own, ...others } = {}, ...flat }) => ({
        ...flat,
        layouts: own ? { ...others, [layout]: own } : others,
      });
      const choices = Object.entries(this.kept.choices).map(([name, one]) => [name, moved(one)]);
      const first = this.kept.layout ? this.kept.first : before;
      this.restore({ ...this.kept, layout, first, choices: Object.fromEntries(choices) });
    },

    /** Takes over earlier decisions that are about columns and layouts of a proposal, by its first name. */
    adopt({ choices, sources, layout, first }, { layouts }) {
      const columns = new Set(layouts[0].columns.map(({ name }) => name));
      const there = new Set(layouts.map(({ name }) => name));
      const named = ([name, one]) => [name === layout ? first : name, one];
      const own = (of) =>
        Object.fromEntries(
          Object.entries(of)
            .map(named)
            .filter(([name]) => there.has(name)),
        );
      const kept = Object.entries(choices)
        .filter(([name]) => columns.has(name))
        .map(([name, { layouts: of = {}, ...flat }]) => [name, { ...flat, layouts: own(of) }]);
      this.restore({ ...NOTHING, sources, choices: Object.fromEntries(kept) });
    },

    clear() {
      this.kept = NOTHING;
      sessionStorage.removeItem(key);
    },
  };
}

/** Forgets all decisions: the next to sign in in this tab is somebody else. */
export function forgetDecisions() {
  for (const key of Object.keys(sessionStorage)) {
    if (key.startsWith(PREFIX)) sessionStorage.removeItem(key);
  }
}
