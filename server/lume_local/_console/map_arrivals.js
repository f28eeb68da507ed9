// Which arrivals of a flow use the version that is saved.

import { get, path, request } from "./api.js";
import { el, fill } from "./dom.js";

/** The arrival whose file a failed run has read; nothing if it is no arrival's. */
export const arrivalOf = (run) =>
  run?.metadata.arrival?.name ?? /^arrival:(.+)/.exec(run?.submitted_by ?? "")?.[1];

/**
 * `node` asks about each arrival; `keep` is called before the version is registered, `move` afterwards. `failed` is the
 * one whose file it is.
 */
export function arrivalsOf(flow, failed, signal) {
  const node = el("div");
  let choices = []; // {name, pinned, wanted} each
  let draw = () => {};

  async function load() {
    const { arrivals } = await get("/v1/arrivals", { limit: 1 }, { signal });
    choices = arrivals
      .map(({ name, flow: used }) => ({ name, used: used.split(":") }))
      .filter(({ used: [name] }) => name === flow)
      // Pinned ones stay, unless it is the file of one that had no version for it.
      .map(({ name, used: [, pinned] }) => ({
        name,
        pinned,
        wanted: !pinned || name === failed,
      }));
    draw();
  }
  load().catch(() => {}); // without arrivals there is nothing to ask

  const change = (name, version) =>
    request("PATCH", path("arrivals", name), { body: JSON.stringify({ version }), type: "application/json" });

  function box(one) {
    const checked = (event) => (one.wanted = event.target.checked);
    return el(
      "label",
      el("input", { type: "checkbox", name: `arrival ${one.name}`, checked: one.wanted, on: { change: checked } }),
      one.name,
      el("span.muted", one.pinned ? `now ${one.pinned}` : "now the newest version"),
    );
  }

  return {
    node,

    /** Asks for a version, if there is anything to ask. */
    draw(version, isAsked) {
      draw = () =>
        fill(
          node,
          isAsked &&
            choices.length > 0 &&
            el("fieldset.readings", el("legend", `Which arrivals use ${version}?`), choices.map(box)),
        );
      draw();
    },

    /** Pins the arrivals that would move with the newest version; returns what undoes it. */
    async keep(version) {
      const kept = choices.filter(({ pinned, wanted }) => !pinned && !wanted);
      for (const one of kept) {
        await change(one.name, version);
        one.pinned = version;
      }
      return async () => {
        for (const one of kept) {
          await change(one.name, null);
          one.pinned = undefined;
        }
      };
    },

    /** Moves the pinned arrivals that were chosen. */
    async move(version) {
      for (const one of choices.filter(({ pinned, wanted }) => pinned && wanted && pinned !== version)) {
        await change(one.name, version);
        one.pinned = version;
      }
    },
  };
}
