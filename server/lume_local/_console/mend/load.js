// Reads all open rows of a flow with a reason, page by page, so that a change may concern all of them.

import { get } from "../api.js";

export const MOST_ROWS = 50_000;
const LIMIT = 1000;

/** `got` is told of each page, and of the `progress`: whether all is there, what can't be read, what was left out. */
export async function loadRows(flow, reason, signal, got) {
  const unreadable = [];
  let cursor;
  let count = 0;
  do {
    const page = await get("/v1/rejects", { flow, reason, limit: LIMIT, cursor }, { signal });
    unreadable.push(...page.unreadable);
    cursor = page.next_cursor;
    count += page.items.length;
    const isFull = count >= MOST_ROWS && cursor !== null;
    got(page.items, { isDone: cursor === null || isFull, isFull, unreadable });
    if (isFull) return;
  } while (cursor);
}
