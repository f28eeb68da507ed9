"""Bearer tokens: JWTs of an OpenID Connect issuer, whose claims give a role.

The issuer's public keys come from its JWKS. They are cached for a while, and fetched again if a token names another
key. One task at a time fetches them; requests use the cached keys meanwhile. Needs the extra `oidc`.
"""

import base64
import binascii
import hashlib
import json
import logging
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import orjson
from anyio import Event, fail_after, move_on_after
from anyio.abc import TaskGroup
from attrs import evolve

from lume_async._base.controls import control_in
from lume_async._base.tasks import task_group
from lume_local._http.access.keys import Grant, Holder, is_confidential
from lume_local._http.exchange import Problem

_log = logging.getLogger("lume_local")

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"]
"""Public-key algorithms only: anybody who shares a secret with the issuer could sign for it."""
_LEEWAY = 60
"""The maximum difference of the issuer's clock, in seconds."""
_KEPT = 3600.0
"""Seconds after which the keys are fetched again, and so the longest that a withdrawn key is accepted."""
_BETWEEN = 30.0
"""Seconds between two requests to an issuer, whatever keys the tokens name; less after its first failures."""
_PATIENCE = 10.0
"""Seconds in which an issuer must answer."""
_MOMENT = 3.0
"""Seconds for which a request waits for keys that are not known yet."""
_NO_ANSWER = "it has not answered yet"
_MOST_BYTES = 1024 * 1024
_LONGEST_SUBJECT, _BEGINNING = 64, 48
_DIGESTED = re.compile(r"~[0-9a-f]{32}\Z")


class Tokens:
    """Checks tokens while it is `running`.

    Args:
        clock: returns the time in seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._issuers: dict[str, _Issuer] = {}
        self._tasks: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fetch keys for the duration of the block."""
        async with task_group() as self._tasks:
            yield
            self._tasks.cancel_scope.cancel()

    async def holder(self, token: str, grants: Sequence[Grant], nonce: str | None = None) -> Holder:
        """Return the holder with the highest role that `grants` give the token. Raises `Problem`.

        With a `nonce`, the token must be the ID token of the sign-in with that nonce.
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
        subject = claims.get("sub")
        if subject is None and nonce is None:
            return holder  # a program's token may name nobody: it counts as the entry
        if not isinstance(subject, str) or not subject.strip():
            raise _refused("its subject (sub) must be a text that is not empty")
        return evolve(holder, name=f"{holder.name}:{named(subject)}")

    async def claims(self, token: str, grants: Sequence[Grant]) -> dict[str, Any]:
        """Return the claims of a token from the issuer of `grants`, for one of their audiences. Raises `Problem`."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        if not grants:
            raise _refused("its issuer (iss) is not one that this server trusts")
        url, key_id = grants[0].issuer, _unchecked(token, 0).get("kid")
        known = await self._issuer(url).known([key_id if isinstance(key_id, str) else None])
        audiences = sorted({one.audience for one in grants})
        wanted = jwt.JWTClaimsRegistry(
            now=int(self._clock()),
            leeway=_LEEWAY,
            iss={"essential": True, "value": url},
            aud={"essential": True, "values": audiences},
            exp={"essential": True},
        )
        try:
            decoded = jwt.decode(token, known.keys, algorithms=_ALGORITHMS)
            wanted.validate(decoded.claims)
        except (JoseError, ValueError) as error:
            raise _refused(str(error)) from None
        claims: dict[str, Any] = decoded.claims
        return claims

    def _issuer(self, url: str) -> "_Issuer":
        assert self._tasks is not None, "not running"
        return self._issuers.setdefault(url, _Issuer(url, self._clock, self._tasks))

    async def about(self, issuer: str) -> dict[str, Any]:
        """Return an issuer's description of itself (OpenID Connect Discovery). Raises `Problem`."""
        return (await self._issuer(issuer).known()).about

    async def exchanged(self, url: Any, form: dict[str, str]) -> str:
        """Exchange the code of a sign-in for an ID token at the issuer's token endpoint. Raises `Problem`."""
        try:
            async with _session() as http:
                token = (await _document(http, "POST", url, data=form)).get("id_token")
        except _RefusedError as error:
            words = f"the issuer does not accept this sign-in: {_said(error)}"
            raise Problem("unauthorized", words) from None
        except _UNREADABLE as error:
            words = f"the issuer can't be asked about this sign-in: {_said(error)}"
            raise Problem("unavailable", words) from None
        if not isinstance(token, str):
            raise Problem("unauthorized", "the issuer gives no ID token for this sign-in")
        return token


def named(subject: str) -> str:
    """Return the subject as part of a name: unchanged, or shortened with a digest that keeps subjects distinct."""
    if len(subject) <= _LONGEST_SUBJECT and not control_in(subject) and not _DIGESTED.search(subject):
        return subject
    beginning = "".join("?" if control_in(one) else one for one in subject[:_BEGINNING])
    return f"{beginning}~{hashlib.sha256(subject.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


class _Known(NamedTuple):
    """An issuer's description and its public keys, whose IDs may be None."""

    about: dict[str, Any]
    keys: Any
    ids: frozenset[str | None]
    fetched: float


class _Issuer:
    """One issuer: its cached description and keys, and one task at a time that fetches them.

    Requests use the cache during a fetch; a request that needs more waits for a moment. Repeated failures lead to
    longer and longer pauses.
    """

    def __init__(self, url: str, clock: Callable[[], float], tasks: TaskGroup) -> None:
        self._url, self._clock, self._tasks = url, clock, tasks
        self._known: _Known | None = None
        self._fetching: Event | None = None
        self._asked = -math.inf
        self._failures = 0
        self._trouble = _NO_ANSWER

    async def known(self, key_ids: Collection[str | None] = ()) -> _Known:
        """Return description and keys, including these if the issuer has them. Raises `Problem` without an answer."""
        found, now = self._having(key_ids), self._clock()
        is_old = found is None or now - found.fetched > _KEPT
        pause = min(_BETWEEN, 2.0 ** (self._failures - 1)) if self._failures else _BETWEEN
        if is_old and self._fetching is None and now >= self._asked + pause:
            self._fetching = Event()
            self._tasks.start_soon(self._fetch)
        if found is None and self._fetching is not None:
            with move_on_after(_MOMENT):
                await self._fetching.wait()
        has_answered = self._fetching is None and not self._failures
        found = found or self._having(() if has_answered else key_ids)
        if found is None:
            raise Problem(
                "unavailable", f"the keys of the issuer {self._url} can't be fetched: {self._trouble}"
            )
        return found

    def _having(self, key_ids: Collection[str | None]) -> _Known | None:
        """Return the cache if it is recent enough and has these keys."""
        known = self._known
        if known is None or self._clock() - known.fetched > 2 * _KEPT:
            return None
        return known if known.ids.issuperset(key_ids) else None

    async def _fetch(self) -> None:
        """Fetch the issuer's description and keys."""
        begun = self._clock()
        try:
            with fail_after(_PATIENCE):
                async with _session() as http:
                    url = f"{self._url.rstrip('/')}/.well-known/openid-configuration"
                    about = await _document(http, "GET", url)
                    if about.get("issuer") != self._url:
                        raise ValueError(f"it says that it is {str(about.get('issuer'))[:200]!r}")
                    keys = _public(await _document(http, "GET", about.get("jwks_uri")))
        except Exception as error:  # no response of an issuer may stop the server
            self._trouble = _said(error)
            self._failures = min(self._failures + 1, 10)
            _log.warning("the keys of the issuer %s can't be fetched: %s", self._url, self._trouble)
        else:
            self._known = _Known(about, keys, frozenset(key.kid for key in keys.keys), begun)
            self._failures, self._trouble = 0, _NO_ANSWER
        finally:
            self._asked = self._clock()
            assert self._fetching is not None
            self._fetching.set()
            self._fetching = None


_UNREADABLE = (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError)


class _RefusedError(ValueError):
    """The issuer has refused a request."""


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
            kind = _RefusedError if 400 <= response.status < 500 else ValueError
            raise kind(f"{url[:200]} answers with status {response.status}")
        text = bytearray()
        async for chunk in response.content.iter_any():
            text += chunk
            if len(text) > _MOST_BYTES:
                raise ValueError(f"{url[:200]} answers with more than {_MOST_BYTES:,} bytes")
        found = orjson.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"{url[:200]} answers with no JSON object")
    return found


def _public(document: dict[str, Any]) -> Any:
    """Return only the keys that can check a signature."""
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
    """Return the header (0) or the claims (1) of a token, whose signature is not checked yet. Raises `Problem`."""
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
