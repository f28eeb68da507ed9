"""Signing in to the console at an OpenID Connect issuer: the authorization code flow with PKCE.

The page makes the secrets of a sign-in (state, nonce, verifier) and keeps them in its tab, so that a code is worth
nothing elsewhere. It can't reach the issuer itself: the server exchanges the code for an ID token, and checks that.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import evolve

from lume_local._http.access.keys import ApiKeys, Holder
from lume_local._http.access.tokens import Tokens
from lume_local._http.access.wrong_keys import WrongKeys
from lume_local._http.messages import Problem

_FIELDS = ("issuer", "code", "verifier", "nonce", "redirect_uri")
_LONGEST = 2048


class SignIn:
    """The issuers at which people sign in, and what they come back with.

    Args:
        tokens: checks ID tokens.
        keys: which of them have a role: those of entries with a `client_id`, for that client.
    """

    def __init__(self, tokens: Tokens, keys: ApiKeys) -> None:
        self._tokens, self._keys, self._tries = tokens, keys, WrongKeys()

    async def issuers(self) -> list[dict[str, str]]:
        """Where the page can lead: each issuer that is there now, with the client and the address for browsers."""
        found = []
        for issuer, client in dict.fromkeys((one.issuer, one.client_id) for one in self._keys.grants):
            if client is None:
                continue
            try:
                address = (await self._tokens.about(issuer)).get("authorization_endpoint")
            except Problem:  # which is in the log
                continue
            found.append({"issuer": issuer, "client_id": client, "authorization_endpoint": str(address)})
        return found

    async def holder(self, fields: Mapping[str, Any], host: str) -> Holder:
        """Who comes back with these `fields` from an issuer, to the page at `host`. Raises `Problem`."""
        for name in _FIELDS:
            value = fields.get(name)
            if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
                raise Problem(
                    "invalid-field", f"{name}: must be a string of 1 to {_LONGEST:,} characters", field=name
                )
        back = urlsplit(fields["redirect_uri"])
        if (back.netloc, back.path, back.query) != (host, "/", ""):
            raise Problem(
                "invalid-field", "redirect_uri: is not the address of this page", field="redirect_uri"
            )
        grants = [
            one for one in self._keys.grants if one.issuer == fields["issuer"] and one.client_id is not None
        ]
        if not grants:
            raise Problem("unauthorized", "nobody signs in at this issuer")
        if self._tries.delay() is None:
            raise Problem("too-many-wrong-keys", "too many sign-ins at the moment: try later")
        client = str(grants[0].client_id)
        token = await self._tokens.exchanged(
            fields["issuer"],
            {
                "grant_type": "authorization_code",
                "client_id": client,
                "code": fields["code"],
                "code_verifier": fields["verifier"],
                "redirect_uri": fields["redirect_uri"],
            },
        )
        of_client = [evolve(one, audience=client) for one in grants if one.client_id == client]
        return await self._tokens.holder(token, of_client, nonce=fields["nonce"])
