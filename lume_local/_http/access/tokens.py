"""Bearer tokens: the JWTs of an OpenID Connect issuer, whose claims give a role.

The issuer's public keys come from its JWKS, are kept for a while, and are fetched again if a token names another key.
Needs the extra `oidc`.
"""

import asyncio
import base64
import binascii
import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import orjson
from attrs import evolve

from lume_async._base.controls import control_in
from lume_local._http.access.keys import Grant, Holder, is_confidential
from lume_local._http.messages import Problem

_log = logging.getLogger("lume_local")

_ALGORITHMS = [
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
]
"""With public keys only: a secret shared with the issuer could sign for it."""
_LEEWAY = 60
"""Seconds by which the issuer's clock may differ."""
_KEPT = 3600.0
"""Seconds after which the keys are fetched again: a key that the issuer has withdrawn is not accepted for longer."""
_BETWEEN = 30.0
"""Seconds between two requests to an issuer, whatever keys the tokens name."""
_PATIENCE = 10.0
_MOST_BYTES = 1024 * 1024
_LONGEST_SUBJECT = 64


class Tokens:
    """Checks tokens.

    Args:
        clock: the time in seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._issuers: dict[str, _Issuer] = {}

    async def holder(self, token: str, grants: Sequence[Grant], nonce: str | None = None) -> Holder:
        """The holder of a token: of the highest role that one of `grants` gives it. Raises `Problem`.

        With a `nonce`, it must be the ID token of the sign-in that has it.
        """
        issuer = _unchecked(token, 1).get("iss")
        trusted = [one for one in grants if one.issuer == issuer]
        claims = await self.claims(token, trusted)
        if nonce is not None and claims.get("nonce") != nonce:
            raise _refused("it belongs to another sign-in (nonce)")
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        roles = [one for one in trusted if one.audience in audiences and one.allows(claims)]
        if not roles:
            raise _refused("none of its claims gives it a role on this server")
        holder = max(roles, key=lambda one: one.holder.role).holder
        subject = str(claims.get("sub", ""))[:_LONGEST_SUBJECT]
        is_name = subject and not control_in(subject)
        return evolve(holder, name=f"{holder.name}:{subject}") if is_name else holder

    async def claims(self, token: str, grants: Sequence[Grant]) -> dict[str, Any]:
        """The claims of a token of the issuer of `grants`, for one of their audiences. Raises `Problem`."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        if not grants:
            raise _refused("its issuer (iss) is none that this server trusts")
        url, now = grants[0].issuer, self._clock()
        key_id = _unchecked(token, 0).get("kid")
        keys = await self._issuer(url).keys(key_id if isinstance(key_id, str) else None, now)
        audiences = sorted({one.audience for one in grants})
        wanted = jwt.JWTClaimsRegistry(
            now=int(now),
            leeway=_LEEWAY,
            iss={"essential": True, "value": url},
            aud={"essential": True, "values": audiences},
            exp={"essential": True},
        )
        try:
            decoded = jwt.decode(token, keys, algorithms=_ALGORITHMS)
            wanted.validate(decoded.claims)
        except (JoseError, ValueError) as error:
            raise _refused(str(error)) from None
        claims: dict[str, Any] = decoded.claims
        return claims

    def _issuer(self, url: str) -> "_Issuer":
        return self._issuers.setdefault(url, _Issuer(url))

    async def about(self, issuer: str) -> dict[str, Any]:
        """What an issuer publishes about itself (OpenID Connect Discovery). Raises `Problem`."""
        return await self._issuer(issuer).about(self._clock())

    async def exchanged(self, issuer: str, form: dict[str, str]) -> str:
        """The ID token that an issuer gives for the code of a sign-in. Raises `Problem`."""
        url = (await self.about(issuer)).get("token_endpoint")
        try:
            async with _session() as http:
                token = (await _document(http, "POST", url, data=form)).get("id_token")
        except _UNREADABLE as error:
            raise Problem(
                "unauthorized", f"the issuer does not accept this sign-in: {_said(error)}"
            ) from None
        if not isinstance(token, str):
            raise Problem("unauthorized", "the issuer gives no ID token for this sign-in")
        return token


class _Issuer:
    """One issuer: its public keys, and what it publishes about itself."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._turn = asyncio.Lock()
        self._keys: Any = None
        self._about: dict[str, Any] = {}
        self._ids: set[str | None] = set()
        self._fetched = self._asked = float("-inf")
        self._trouble = ""

    async def keys(self, key_id: str | None, now: float) -> Any:
        """The keys, with this one unless the issuer has no such key. Raises `Problem` if they can't be fetched."""
        await self._fetch_unless(lambda: key_id in self._ids and self._is_fresh(now), now)
        return self._keys

    async def about(self, now: float) -> dict[str, Any]:
        """Its own description. Raises `Problem` if it can't be fetched."""
        await self._fetch_unless(lambda: self._is_fresh(now), now)
        return self._about

    def _is_fresh(self, now: float) -> bool:
        return now - self._fetched <= _KEPT

    async def _fetch_unless(self, is_there: Callable[[], bool], now: float) -> None:
        if not is_there():
            async with self._turn:
                if not is_there() and (self._keys is None or now - self._asked > _BETWEEN):
                    self._asked = now
                    await self._fetch(now)
        if self._keys is None or now - self._fetched > 2 * _KEPT:
            raise Problem(
                "unavailable", f"the keys of the issuer {self._url} can't be fetched: {self._trouble}"
            )

    async def _fetch(self, now: float) -> None:
        try:
            async with _session() as http:
                about = await _document(
                    http, "GET", f"{self._url.rstrip('/')}/.well-known/openid-configuration"
                )
                if about.get("issuer") != self._url:
                    raise ValueError(f"it says that it is {str(about.get('issuer'))[:200]!r}")
                keys = _public(await _document(http, "GET", about.get("jwks_uri")))
        except _UNREADABLE as error:
            self._trouble = _said(error)
            _log.warning("the keys of the issuer %s can't be fetched: %s", self._url, self._trouble)
        else:
            self._keys, self._about, self._fetched = keys, about, now
            self._ids = {key.kid for key in keys.keys}


_UNREADABLE = (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError)


def _said(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error)[:200]


def _session() -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=_PATIENCE)
    return aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())


async def _document(http: aiohttp.ClientSession, method: str, url: Any, **body: Any) -> dict[str, Any]:
    if not is_confidential(url):
        raise ValueError(f"{str(url)[:200]} is not https")
    async with http.request(method, url, allow_redirects=False, **body) as response:
        if response.status != 200:
            raise ValueError(f"{url[:200]} answers with status {response.status}")
        text = await response.content.read(_MOST_BYTES)
        if not response.content.at_eof():
            raise ValueError(f"{url[:200]} answers with more than {_MOST_BYTES:,} bytes")
        found = orjson.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"{url[:200]} answers with no JSON object")
    return found


def _public(document: dict[str, Any]) -> Any:
    """The keys that can check a signature, and nothing else."""
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    keys = [
        key
        for key in document["keys"]
        if isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig"
    ]
    try:
        return KeySet.import_key_set({"keys": keys})
    except JoseError as error:
        raise ValueError(f"its JWKS is of no use: {error}") from None


def _unchecked(token: str, part: int) -> dict[str, Any]:
    """The header (0) or the claims (1) of a token whose signature is not checked yet. Raises `Problem`."""
    try:
        text = token.split(".")[part]
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _refused("it is not a JWT")
    return found


def _refused(why: str) -> Problem:
    return Problem("unauthorized", f"the token is not accepted: {why}")
