// A person's decisions about a file's columns. They are stored with the tab, so that they survive a reload.

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
