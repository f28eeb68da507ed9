// The proposal for a file, and a person's decisions so far, which are stored with the tab: they survive a reload.

import { path, post } from "./api.js";
import { notice } from "./parts.js";

const LONGEST = 3600_000; // a trial takes as long as a run

/**
 * `proposal` has the form of the contract, `decisions` that of `decisionsOf`. `onChange` is called after a change of
 * either, `onBusy` when the server starts or stops working on a proposal.
 */
export class Mapping {
  #turn = 0;
  #asked = ""; // the decisions that the proposal was made with
  #before = Promise.resolve(); // the server makes one proposal at a time

  constructor(flow, file, decisions, signal) {
    Object.assign(this, { flow, file, decisions, signal, onChange: () => {}, onBusy: () => {} });
  }

  async load() {
    try {
      await this.ask();
    } catch (error) {
      if (error.status !== 422 || !Object.keys(this.decisions.all()).length) throw error;
      notice(`Your earlier decisions no longer fit the file. ${error.message}`, true);
      this.decisions.clear();
      await this.ask();
    }
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
    const choices = this.decisions.all();
    const body = { samples: [this.file], choices, inline_lookups: true, ...more };
    const options = { signal: this.signal, limit: LONGEST };
    this.proposal = await post(path("flows", this.flow, "proposals"), body, options);
    this.#asked = JSON.stringify(choices);
    return this.proposal;
  }

  /** Returns the proposal with the current state of the review in its file. */
  async fresh() {
    while (this.#asked !== JSON.stringify(this.decisions.all())) await this.ask();
    return this.proposal;
  }

  /** Makes a decision; one that changes the version is sent at once, and undone if it is refused. */
  async change(name, fields) {
    const before = this.decisions.all();
    this.decisions.change(name, fields);
    this.onChange();
    if (!["sources", "reading", "lookup"].some((field) => field in fields)) return;
    try {
      await this.ask();
    } catch (error) {
      if (this.signal.aborted) return;
      this.decisions.restore(before);
      this.onChange();
      notice(error.message, true);
    }
  }

  /** The columns that still need a decision. */
  get open() {
    return this.proposal.columns.filter(
      ({ name, chosen }) => !chosen && this.decisions.of(name).sources?.length !== 0,
    );
  }
}

const PREFIX = "lume-map:";

/** The decisions for a flow and a file, by target column, in the form of the contract's `choices`. */
export function decisionsOf(flow, file) {
  const key = `${PREFIX}${flow}:${file}`;
  let kept = JSON.parse(sessionStorage.getItem(key) ?? "{}");

  return {
    all: () => kept,
    of: (name) => kept[name] ?? {},

    /** Replaces all decisions, for example by those before a refused change. */
    restore(others) {
      kept = others;
      sessionStorage.setItem(key, JSON.stringify(kept));
    },

    /** Changes fields of a decision; undefined removes a field. */
    change(name, fields) {
      this.restore({ ...kept, [name]: { ...kept[name], ...fields } });
    },

    clear() {
      kept = {};
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
