"""Who may use the console: a link works once and is traded for a session.

The secrets of both are kept in memory only, as digests: a server that is started again knows neither.
"""

import hashlib
import secrets
import time
from collections.abc import Callable

from attrs import frozen

SESSION_HEADER = "lume-console-session"
"""By which the console's page sends its session. No browser adds it by itself, as it would a cookie: that is sent to
every port of the host."""
LINK_LIMIT = 600.0
"""Seconds that a link can be opened for."""
IDLE_LIMIT = 7 * 86400.0
"""Seconds that a session lives without a request: an open page keeps it alive."""
_MOST = 100
"""Links, and sessions, of one owner: the oldest of theirs gives way, and nobody else's."""


@frozen
class _Grant:
    """What a secret stands for.

    Attributes:
        owner: the digest of the key that is behind it.
        maker: the digest of the session that it was made with, and ends with; None where that was the key.
        seen: when it was used last.
    """

    owner: str
    maker: bytes | None
    seen: float


_Grants = dict[bytes, _Grant]


class Sessions:
    """The links and sessions of one server.

    Args:
        clock: the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._links: _Grants = {}
        self._sessions: _Grants = {}

    def new_token(self, owner: str, session: str | None = None) -> str:
        """The token of a new link, which can be traded for a session of that owner, once.

        Args:
            session: the secret of the session that asks for it, if it is not the key.
        """
        return self._add(self._links, owner, None if session is None else _digest(session))

    def begin(self, token: str) -> str | None:
        """The secret of a new session for a token; None where the token is wrong, old or was used."""
        link = self._links.pop(_digest(token), None)
        if link is None or not self._holds(link, LINK_LIMIT):
            return None
        return self._add(self._sessions, link.owner, link.maker)

    def end(self, secret: str) -> None:
        """End a session, if there is one, and with it the links and the sessions that it has made."""
        self._sessions.pop(_digest(secret), None)

    def owner(self, secret: str) -> str | None:
        """Whose session it is, None where it is none; it lives on from now."""
        digest = _digest(secret)
        session = self._sessions.pop(digest, None)
        if session is None or not self._holds(session, IDLE_LIMIT):
            return None
        # The last one, so that the first one is the oldest.
        self._sessions[digest] = _Grant(session.owner, session.maker, self._clock())
        return session.owner

    def _holds(self, grant: _Grant, limit: float) -> bool:
        """Whether it is young enough, and whatever it was made with is still a session."""
        while self._clock() - grant.seen <= limit:
            if grant.maker is None:
                return True
            maker = self._sessions.get(grant.maker)
            if maker is None:
                return False
            grant, limit = maker, IDLE_LIMIT
        return False

    def _add(self, grants: _Grants, owner: str, maker: bytes | None) -> str:
        secret = secrets.token_urlsafe(32)
        grants[_digest(secret)] = _Grant(owner, maker, self._clock())
        same = [digest for digest, other in grants.items() if other.owner == owner]
        if len(same) > _MOST:
            del grants[same[0]]
        return secret


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
