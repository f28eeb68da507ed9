// What a person has decided about a file's columns. It is kept with the tab, so that a reload loses nothing.

const PREFIX = "lume-map:";

/** The decisions for a flow and a file, by target columns, as `choices` of the contract. */
export function decisionsOf(flow, file) {
  const key = `${PREFIX}${flow}:${file}`;
  let kept = JSON.parse(sessionStorage.getItem(key) ?? "{}");

  return {
    all: () => kept,
    of: (name) => kept[name] ?? {},

    /** Takes these instead, such as those before a change that was refused. */
    restore(others) {
      kept = others;
      sessionStorage.setItem(key, JSON.stringify(kept));
    },

    /** Changes fields of a decision; one that is undefined is no longer decided. */
    change(name, fields) {
      this.restore({ ...kept, [name]: { ...kept[name], ...fields } });
    },

    clear() {
      kept = {};
      sessionStorage.removeItem(key);
    },
  };
}

/** Forgets all of them: whoever signs in next in this tab is somebody else. */
export function forgetDecisions() {
  for (const key of Object.keys(sessionStorage)) {
    if (key.startsWith(PREFIX)) sessionStorage.removeItem(key);
  }
}
