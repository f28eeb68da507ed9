"""Who may use the console: a link works once and is traded for a session, which a cookie carries.

Both are kept in memory only, as digests: a server that is started again knows neither.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

IDLE_LIMIT = 7 * 86400.0
"""Seconds that a session lives without a request: an open page keeps it alive."""
_MOST = 100
"""Links, and sessions, of one owner: the oldest of theirs gives way, and nobody else's."""

_Known = dict[bytes, tuple[float, str]]
"""By the digest of a secret: when it was last seen, and whose it is."""
_NOBODY = 0.0, None


class Sessions:
    """The links and sessions of one server.

    Args:
        name: tells the cookies of servers on one machine apart: a cookie belongs to a host, not to a port.
        clock: the time in seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._cookie = f"lume-{name}"
        self._clock = clock
        self._tokens: _Known = {}
        self._sessions: _Known = {}

    def new_token(self, owner: str) -> str:
        """A token that can be traded for a session of that owner, once."""
        token = secrets.token_urlsafe(32)
        self._add(self._tokens, token, owner)
        return token

    def begin(self, token: str) -> str | None:
        """The `Set-Cookie` of a new session for a token; None where the token is wrong or was used."""
        _, owner = self._tokens.pop(_digest(token), _NOBODY)
        if owner is None:
            return None
        value = secrets.token_urlsafe(32)
        self._add(self._sessions, value, owner)
        return f"{self._cookie}={value}; Path=/; HttpOnly; SameSite=Strict"

    def end(self, cookies: str) -> str:
        """End the session of a request, if it has one; the `Set-Cookie` that removes its cookie."""
        self._sessions.pop(self._digest_of(cookies), None)
        return f"{self._cookie}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"

    def owner(self, cookies: str) -> str | None:
        """Whose session the `Cookie` header of a request names, None without one; it lives on from now."""
        digest, now = self._digest_of(cookies), self._clock()
        seen, owner = self._sessions.pop(digest, _NOBODY)
        if owner is None or now - seen > IDLE_LIMIT:
            return None
        self._sessions[digest] = now, owner  # the last one, so that the first one is the oldest
        return owner

    def _add(self, known: _Known, secret: str, owner: str) -> None:
        known[_digest(secret)] = self._clock(), owner
        same = [digest for digest, (_, other) in known.items() if other == owner]
        if len(same) > _MOST:
            del known[same[0]]

    def _digest_of(self, cookies: str) -> bytes:
        try:
            found = SimpleCookie(cookies).get(self._cookie)
        except CookieError:
            return b""
        return b"" if found is None else _digest(found.value)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
