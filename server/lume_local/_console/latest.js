// Asks for what a page shows, and asks again where it changes by itself.

/**
 * Returns a function that asks and shows the answer. The answer to an earlier question is dropped. After an answer for
 * which `again` holds, and after a failure, it is asked once more a while later; not while the page can't be seen.
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
