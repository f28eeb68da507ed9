"""Sessions of the console: a link works once and is exchanged for a session.

The secrets of both are kept in memory only, as digests: a restart ends all of them.
"""

import hashlib
import secrets
import time
from collections.abc import Callable

from attrs import frozen

SESSION_HEADER = "lume-console-session"
"""The header with the session of the console's page. Unlike a cookie, browsers do not send it by themselves, nor to
other ports of the host."""
LINK_LIMIT = 600.0
"""Seconds for which a link is valid."""
IDLE_LIMIT = 7 * 86400.0
"""Seconds after which a session without requests ends; an open page keeps it alive."""
_MOST = 100
"""The maximum of links, and of sessions, of one owner; a new one ends the owner's oldest."""


@frozen
class _Grant:
    """What a secret grants.

    Attributes:
        owner: the digest of the key that it derives from.
        maker: the digest of the session that created it, with which it ends; None if the key did.
        seen: the time of its last use.
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
        """The token of a new link, which can be exchanged once for a session of that owner.

        Args:
            session: the secret of the session that creates it, unless the key does.
        """
        return self._add(self._links, owner, None if session is None else _digest(session))

    def begin(self, token: str) -> str | None:
        """The secret of a new session for a token; None if the token is wrong, expired or used."""
        link = self._links.pop(_digest(token), None)
        if link is None or not self._holds(link, LINK_LIMIT):
            return None
        return self._add(self._sessions, link.owner, link.maker)

    def end(self, secret: str) -> None:
        """End a session, if it exists, with the links and sessions that it has created."""
        self._sessions.pop(_digest(secret), None)

    def owner(self, secret: str) -> str | None:
        """The owner of a session, which is extended; None if it is not valid."""
        digest = _digest(secret)
        session = self._sessions.pop(digest, None)
        if session is None or not self._holds(session, IDLE_LIMIT):
            return None
        # Insert it last, so that the first one is the oldest.
        self._sessions[digest] = _Grant(session.owner, session.maker, self._clock())
        return session.owner

    def _holds(self, grant: _Grant, limit: float) -> bool:
        """Whether it has not expired, and the session that created it is still valid."""
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
