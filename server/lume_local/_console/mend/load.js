// Loads all open rows of a flow with a reason, page by page, so that a change can cover all of them.

import { get } from "../api.js";

export const MOST_ROWS = 50_000;
const LIMIT = 1000;

/** `got` receives each page and the `progress`: whether it is complete, and what is unreadable or left out. */
export async function loadRows(flow, reason, assignee, signal, got) {
  const unreadable = [];
  let cursor;
  let count = 0;
  do {
    const page = await get("/v1/rejects", { flow, reason, assignee, limit: LIMIT, cursor }, { signal });
    unreadable.push(...page.unreadable);
    cursor = page.next_cursor;
    count += page.items.length;
    const isFull = count >= MOST_ROWS && cursor !== null;
    got(page.items, { isDone: cursor === null || isFull, isFull, unreadable });
    if (isFull) return;
  } while (cursor);
}
