// A real issuer for tests: node oidc_issuer.mjs MODULES PORT JWKS. MODULES is the folder with oidc-provider.
// Each client's access tokens are JWTs whose `groups` have the client's id; the resource is their audience.
import { pathToFileURL } from "node:url";

const [modules, port, jwks] = process.argv.slice(2);
const algorithm = JSON.parse(jwks).keys[0].alg;
const { default: Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`));

const robot = (id) => ({
  client_id: id,
  client_secret: "secret-of-a-robot",
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
  id_token_signed_response_alg: algorithm,
});
const console_ = {
  client_id: "lume-console",
  application_type: "native", // any port of 127.0.0.1
  token_endpoint_auth_method: "none",
  grant_types: ["authorization_code"],
  response_types: ["code"],
  redirect_uris: ["http://127.0.0.1/"],
  id_token_signed_response_alg: algorithm,
};
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [...["readers", "submitters", "strangers"].map(robot), console_],
  jwks: JSON.parse(jwks),
  scopes: ["openid", "lume:read"],
  features: {
    devInteractions: { enabled: true }, // pages on which any name and any password are right
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_ctx, resource) => ({
        scope: "lume:read",
        audience: resource,
        accessTokenTTL: 600,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: algorithm } },
      }),
    },
  },
  claims: { openid: ["sub", "groups"] },
  conformIdTokenClaims: false,
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, groups: [id] }) }),
  extraTokenClaims: (_ctx, token) => ({ groups: [token.clientId], realm_access: { roles: [token.clientId] } }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
