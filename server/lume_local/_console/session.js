// The session of this browser: a secret in the storage of this origin, which every request sends in a header. A
// cookie would be sent to every port of the host. The tabs of this origin share the secret among themselves.

const KEY = "lume-session";
const PATIENCE = 300; // ms for another tab to answer

const tabs = new BroadcastChannel(KEY); // reaches pages of this origin only
let answered = () => {};

export const secret = () => sessionStorage.getItem(KEY);

/** Stores a new session in this tab. Other tabs keep theirs; those without one get this one. */
export function keep(value) {
  sessionStorage.setItem(KEY, value);
  tabs.postMessage({ has: value });
}

export const forget = () => sessionStorage.removeItem(KEY);

/** Takes over the session of another tab if this one has none: a new tab starts without. */
export async function borrow() {
  if (secret() !== null) return;
  await new Promise((resolve) => {
    answered = resolve;
    setTimeout(resolve, PATIENCE);
    tabs.postMessage({ asks: true });
  });
}

tabs.addEventListener("message", ({ data }) => {
  if (secret() === null && data.has !== undefined) {
    sessionStorage.setItem(KEY, data.has);
    answered();
  } else if (secret() !== null && data.asks) tabs.postMessage({ has: secret() });
});
