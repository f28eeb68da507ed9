// Signs in, shows the page in the address, and keeps it up to date.

import { signIn, signOut, Unreachable, whoAmI } from "./api.js";
import { el, fill } from "./dom.js";
import { follow } from "./feed.js";
import { cut } from "./format.js";
import { forgetDecisions } from "./map_proposal.js";
import { arrive, issuers, leave } from "./oidc.js";
import { show as arrivals } from "./page_arrivals.js";
import { show as flow } from "./page_flow.js";
import { show as flows } from "./page_flows.js";
import { show as inbox } from "./page_inbox.js";
import { show as mend } from "./page_mend.js";
import { show as map } from "./page_map.js";
import { show as overview } from "./page_overview.js";
import { show as run } from "./page_run.js";
import { show as runs } from "./page_runs.js";
import { notice } from "./parts.js";
import { borrow, forget, keep, secret } from "./session.js";
import { refreshAges } from "./status.js";

const main = document.getElementById("page");
const live = document.getElementById("live");
const STATES = { live: "Live", paused: "Paused", away: "Server away" };
const OF_SESSION = ["nav", "who", "live", "sign-out"].map((id) => document.getElementById(id));
const PAUSE = 700;
const AGAIN = 3000; // to reload a page that failed
const POLL = 5000;
const PAGES = new Map([
  ["inbox", [inbox, mend]],
  ["runs", [runs, run]],
  ["flows", [flows, flow]],
  ["map", [flows, map]],
  ["arrivals", [arrivals]],
]);

let current = null; // {update} of the current page
let leaving = new AbortController();
let signedOut = true; // or not yet signed in
let refusal = ""; // why the opened link has failed

/** Parses `#/runs/run_1?reason=x` into its parts and its query. */
function place() {
  const [path, query = ""] = location.hash.slice(1).split("?");
  return { parts: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand
  }
}

function pageOf([first, second]) {
  if (first === undefined) return overview;
  const [list, one] = PAGES.get(first) ?? [];
  const page = second ? one : list;
  if (!page) throw new Error(`There is no page at ${location.hash.slice(0, 200)}: choose one above.`);
  return page;
}

async function navigate(event) {
  if (signedOut) return;
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const { parts, query } = place();
  const slow = setTimeout(() => fill(main, el("p.empty", "Loading …")), 400);
  for (const link of document.querySelectorAll("#nav a")) {
    const isHere = link.getAttribute("href") === `#/${parts[0] === "map" ? "flows" : (parts[0] ?? "")}`;
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  whoIs(secret(), signal).then(showWho, () => {}); // an error here also stops the page, which reports it
  try {
    const shown = await pageOf(parts)({ parts, query, signal });
    if (signal.aborted) return;
    const filtered = event && event.oldURL?.split("?")[0] === event.newURL?.split("?")[0];
    const focused = filtered && document.activeElement?.getAttribute("name");
    current = shown;
    onState("live");
    document.title = `${shown.title} · Lume`;
    fill(main, shown.node);
    if (focused) main.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus();
    else if (event && !filtered) main.querySelector("h1")?.focus();
    if (!filtered) scrollTo(0, 0);
  } catch (error) {
    if (signal.aborted || signedOut) return;
    current = null;
    const isAway = error instanceof Unreachable;
    const words = isAway ? `${error.message} This page is shown as soon as it answers.` : error.message;
    if (main.querySelector("[role=alert]")?.textContent !== words)
      fill(main, el("h1", { tabindex: -1 }, "This page can't be shown"), el("p", { role: "alert" }, words));
    if (!isAway) return;
    onState("away");
    setTimeout(() => signal.aborted || navigate(event), AGAIN);
  } finally {
    clearTimeout(slow);
  }
}

let changed = new Set();
let timer = null;

/** Updates the page a moment after the first change: many may come at once. */
function onChange(ids) {
  changed = ids && changed ? new Set([...changed, ...ids]) : null;
  timer ??= setTimeout(async () => {
    const ids = changed;
    changed = new Set();
    try {
      await current?.update?.(ids);
    } catch (error) {
      if (error.name !== "AbortError" && !signedOut) onState("away"); // else the user has left the page
    } finally {
      timer = null;
      if (changed === null || changed.size) onChange(changed);
    }
  }, PAUSE);
}

function onState(state) {
  if (live.textContent !== STATES[state]) live.textContent = STATES[state];
  live.className = `live ${state}`;
}

/** Shows a page without navigation: to a visitor without a session, or with two. */
function alone(title, content) {
  document.title = `${title} · Lume`;
  fill(main, el("section.door", el("h1", { tabindex: -1 }, title), content));
}

/** Shows the page of a visitor without a session. */
function door(message) {
  signedOut = true;
  leaving.abort();
  for (const node of OF_SESSION) node.hidden = true;
  alone("This browser is not signed in", [
    message && el("p", { role: "alert" }, message),
    el("p", "Ask whoever runs the server for a link: it works once, within 10 minutes."),
    el("p", el("code", "lume serve"), " prints one at its start, ", el("code", "lume console"), " another one."),
  ]);
  main.querySelector("h1").focus();
  offer(main.firstChild).catch((error) => notice(error.message, true));
}

/** Adds a button for each issuer at which people can sign in. */
async function offer(place) {
  for (const issuer of await issuers()) {
    const begin = () => leave(issuer).catch((error) => notice(error.message, true));
    place.append(el("p", el("button", { on: { click: begin } }, `Sign in at ${new URL(issuer.issuer).host}`)));
  }
}

/** Returns the token of a link; null if the address is that of a page. */
const tokenHere = () => new URLSearchParams(location.hash.slice(1)).get("token");

/** Returns the owner of a session; null if it has ended. */
const whoIs = (session, signal) =>
  whoAmI({ session, signal }).catch((error) => {
    if (error.status === 401) return null;
    throw error;
  });

const named = ({ name, role }) => `${cut(name, 100)} (${role})`;

function showWho(who) {
  const node = document.getElementById("who");
  if (who) fill(node, el("span.unseen", "Signed in as "), (node.title = named(who)));
}

/** Signs in, unless another user is signed in and stays. Throws the server's error. */
async function enter(given) {
  const session = await signIn(given);
  const [there, other] = await Promise.all([whoIs(secret()), whoIs(session)]);
  const isSame = there === null || (there.name === other.name && there.role === other.role);
  if (isSame || (await isReplaced(named(there), named(other)))) keep(session);
  else await signOut(session);
}

/** Asks whether to replace the signed-in user by another. */
function isReplaced(there, other) {
  return new Promise((resolve) => {
    const button = (text, look, yes) => el("button", { class: look, on: { click: () => resolve(yes) } }, text);
    const stay = button(`Keep ${there}`, "primary", false);
    alone("You are signed in already", [
      el("p", "This browser is signed in as ", el("strong", there), "."),
      el("p", "The link that was opened would sign this tab in as ", el("strong", other), "."),
      el("p.muted", "If you did not want that, keep the session. The link is used up in any case."),
      el("div.buttons", stay, button(`Sign in as ${other}`, "", true)),
    ]);
    stay.focus();
  });
}

async function start() {
  const token = tokenHere();
  if (token !== null) history.replaceState(null, "", "#/"); // first of all: a token must not stay in the history
  // A link pasted into the address of an open page is opened as in a new tab.
  addEventListener("hashchange", (event) => (tokenHere() === null ? navigate(event) : location.reload()));
  try {
    const given = arrive() ?? (token === null ? null : { token });
    await borrow();
    if (given) await enter(given);
  } catch (error) {
    refusal = error.message;
  }
  addEventListener("signed-out", () => {
    forget();
    door(current ? "The session has ended." : refusal);
  });
  document.getElementById("skip").addEventListener("click", () => main.focus());
  document.getElementById("sign-out").addEventListener("click", async () => {
    try {
      await signOut();
      forget();
      forgetDecisions();
      door("You have signed out.");
    } catch (error) {
      notice(error.message, true);
    }
  });
  for (const node of OF_SESSION) node.hidden = false;
  signedOut = false;
  await navigate();
  if (signedOut) return;
  if (refusal) notice(refusal, true);
  setInterval(refreshAges, 10_000);
  follow(onChange, onState);
  // The feed reports runs; drafts that wait for approval have to be polled.
  setInterval(() => current?.polls && !document.hidden && onChange(new Set()), POLL);
}

start().catch((error) => door(error.message));
