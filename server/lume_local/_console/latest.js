// Loads the data of a page, and reloads data that changes without a user's action.

/**
 * Returns a function that loads and shows the data. The answer to an earlier request is dropped. After an answer for
 * which `again` holds, and after a failure, it loads once more after a while, unless the page is hidden.
 */
export function latest(ask, show, { again, time, signal }) {
  let turn = 0;
  let timer = null;

  function later() {
    clearTimeout(timer);
    if (!signal.aborted) timer = setTimeout(() => (document.hidden ? later() : load().catch(() => {})), time);
  }

  async function load() {
    const mine = ++turn;
    clearTimeout(timer);
    try {
      const found = await ask();
      if (mine !== turn) return;
      show(found);
      if (again(found)) later();
    } catch (error) {
      if (mine === turn) later();
      throw error;
    }
  }
  return load;
}
