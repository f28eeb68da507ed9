"""Sign-in to the console at an OpenID Connect issuer: the authorization code flow with PKCE.

The page creates the secrets of a sign-in (state, nonce, verifier) and keeps them in its tab, so a code is useless
elsewhere. The page can't reach the issuer itself: the server exchanges the code for an ID token, and checks that.

Anybody can send any code, and only the issuer knows which ones are valid. Requests that no page would send are
therefore refused first. Each address may then have a few wrong codes a minute passed on: a flood of them reaches the
issuer as a trickle, and leaves other addresses their share.
"""

import ipaddress
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from attrs import evolve

from lume_async._base.tasks import task_group
from lume_local._http.access.keys import ApiKeys, Holder
from lume_local._http.access.limits import Quotas
from lume_local._http.access.tokens import Tokens
from lume_local._http.exchange import Ask, Problem
from lume_local._http.requests import field_problem

_FIELDS = ("issuer", "code", "verifier", "nonce", "redirect_uri")
_LONGEST = 2048
_FORMS = {
    "code": (re.compile(r"[ -~]+"), "must be printable ASCII"),
    "verifier": (re.compile(r"[A-Za-z0-9._~-]{43,128}"), "must be 43 to 128 letters, digits, or '-._~'"),
    "nonce": (re.compile(r"[!-~]+"), "must be printable ASCII without spaces"),
}
"""As RFC 6749 and 7636 define them."""
OF_ALL, OF_PEER, OF_CLIENT = 120, 40, 10
"""How many wrong codes are passed on in a minute: in all, for an address that connects to this server, and for a
client behind that address, if it is a proxy that names its clients. Successful sign-ins don't count."""


class SignIn:
    """Signs people in at the issuers of `keys.toml`.

    Args:
        keys: gives roles to ID tokens, by the entries with a `client_id`.
    """

    def __init__(self, tokens: Tokens, keys: ApiKeys, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens, self._keys, self._quotas = tokens, keys, Quotas(clock)

    async def issuers(self) -> list[dict[str, str]]:
        """Return each issuer that is reachable now, with its client ID and the address for browsers."""
        clients = dict.fromkeys((one.issuer, one.client_id) for one in self._keys.grants)
        addresses = dict[str, str]()

        async def ask(issuer: str) -> None:
            with suppress(Problem):  # already in the log
                addresses[issuer] = str((await self._tokens.about(issuer)).get("authorization_endpoint"))

        async with task_group() as tasks:
            for issuer in {issuer for issuer, client in clients if client is not None}:
                tasks.start_soon(ask, issuer)
        return [
            {"issuer": issuer, "client_id": client, "authorization_endpoint": addresses[issuer]}
            for issuer, client in clients
            if client is not None and issuer in addresses
        ]

    async def holder(self, fields: Mapping[str, Any], ask: Ask) -> Holder:
        """Return the holder for the `fields` with which an issuer led back to the page. Raises `Problem`."""
        for name in _FIELDS:
            value = fields.get(name)
            if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
                raise field_problem(name, f"must be a string of 1 to {_LONGEST:,} characters")
            form, words = _FORMS.get(name, (None, ""))
            if form is not None and not form.fullmatch(value):
                raise field_problem(name, words)
        page = f"://{ask.headers.get('Host', '')}/"
        if fields["redirect_uri"] not in (f"http{page}", f"https{page}"):
            raise field_problem("redirect_uri", "is not the address of this page")
        grants = [
            one for one in self._keys.grants if one.issuer == fields["issuer"] and one.client_id is not None
        ]
        if not grants:
            raise Problem("unauthorized", "nobody signs in at this issuer")
        url = (await self._tokens.about(fields["issuer"])).get("token_endpoint")
        # A false client address only divides the share of its own peer.
        peer, behind = _network(ask.peer), _network(ask.behind)
        shares = ("all", OF_ALL), (f"peer {peer}", OF_PEER), (f"client {peer} {behind}", OF_CLIENT)
        if wait := self._quotas.wait(*shares):
            words = f"too many sign-ins have failed: try again in {wait} s"
            raise Problem("too-many-wrong-keys", words, retry_after=wait)
        client = str(grants[0].client_id)
        token = await self._tokens.exchanged(
            url,
            {
                "grant_type": "authorization_code",
                "client_id": client,
                "code": fields["code"],
                "code_verifier": fields["verifier"],
                "redirect_uri": fields["redirect_uri"],
            },
        )
        of_client = [evolve(one, audience=client) for one in grants if one.client_id == client]
        holder = await self._tokens.holder(token, of_client, nonce=fields["nonce"])
        self._quotas.give_back(*shares)
        return holder


def _network(address: str) -> str:
    """Return an IPv4 address, or the /64 network of an IPv6 address, whose owner has all of it; empty if invalid."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found.packed[:8] + bytes(8), 64)))
