// Sign-in at an OpenID Connect issuer. The secrets of a sign-in stay in this tab, so that its code is worthless
// elsewhere, and a code from elsewhere is worthless here.

import { get } from "./api.js";

const KEY = "lume-sign-in";
const home = () => `${location.origin}/`;

/** Returns the issuers at which people can sign in to this server. */
export const issuers = async () => (await get("/console/issuers")).items;

/** Goes to the issuer, which redirects back to this page. */
export async function leave({ issuer, client_id, authorization_endpoint }) {
  const [state, nonce, verifier] = [random(), random(), random()];
  sessionStorage.setItem(KEY, JSON.stringify({ issuer, state, nonce, verifier }));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const url = new URL(authorization_endpoint);
  if (!/^https?:$/.test(url.protocol)) throw new Error("the issuer's address is not a web page");
  for (const [name, value] of Object.entries({
    response_type: "code",
    scope: "openid",
    client_id,
    redirect_uri: home(),
    state,
    nonce,
    code_challenge: base64(digest),
    code_challenge_method: "S256",
  })) {
    url.searchParams.set(name, value);
  }
  location.assign(url);
}

/** Returns the issuer's response for the server; null if there is none. Throws the issuer's error. */
export function arrive() {
  const answer = new URLSearchParams(location.search);
  if (!answer.has("state")) return null;
  history.replaceState(null, "", "/#/"); // first of all: a code must not stay in the history
  const begun = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
  sessionStorage.removeItem(KEY);
  if (answer.get("state") !== begun.state) throw new Error("This sign-in was not started here: start it again.");
  if (!answer.has("code"))
    throw new Error(`Not signed in: ${answer.get("error_description") ?? answer.get("error")}`);
  const { issuer, nonce, verifier } = begun;
  return { issuer, nonce, verifier, code: answer.get("code"), redirect_uri: home() };
}

const random = () => base64(crypto.getRandomValues(new Uint8Array(32)));

function base64(bytes) {
  const text = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
