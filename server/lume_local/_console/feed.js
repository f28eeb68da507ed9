// The change feed: one long poll while the page is visible. Browsers open few connections to a server, so a page in
// the background has none.

import { get } from "./api.js";

const WAIT = 25;
const LONGEST_PAUSE = 15_000;
const MOST_IDS = 500;

/**
 * Follows the feed forever. `onChange` gets the IDs of changed runs, or null if any may have changed; `onState` gets
 * "live", "paused" or "away".
 */
export async function follow(onChange, onState) {
  let after = null;
  let failures = 0;
  for (;;) {
    if (document.hidden) {
      onState("paused");
      await seen();
    }
    const gone = new AbortController();
    const hide = () => document.hidden && gone.abort();
    document.addEventListener("visibilitychange", hide);
    try {
      const headers = after && !failures ? { Prefer: `wait=${WAIT}` } : {};
      const found = await get("/v1/changes", { after, limit: MOST_IDS }, { headers, signal: gone.signal });
      onState("live");
      const ids = new Set(found.items.map((item) => item.id));
      if (!after) onChange(null);
      else if (ids.size) onChange(found.items.length < MOST_IDS ? ids : null);
      after = found.next_cursor;
      failures = 0;
    } catch (error) {
      if (error.name === "AbortError") continue;
      if (error.status === 401) return;
      if (error.kind === "invalid-cursor") after = null;
      failures += 1;
      onState("away");
      await pause(Math.min(500 * 2 ** failures, LONGEST_PAUSE));
    } finally {
      document.removeEventListener("visibilitychange", hide);
    }
  }
}

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

function seen() {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
  });
}
