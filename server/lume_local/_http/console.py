"""The console: a page for browsers at `/`, its files, and its sessions. The page itself is `lume_local/_console`.

The page uses the HTTP contract for everything but signing in. A link works once and is exchanged for a session. The
secrets of both are kept in memory only, as digests: a restart ends all of them.
"""

import hashlib
import ipaddress
import math
import secrets
import socket
import time
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from attrs import evolve, frozen

from lume_local._http import requests
from lume_local._http.access.keys import KEY_HEADER, OWN, ApiKeys, Holder
from lume_local._http.access.sign_in import SignIn
from lume_local._http.access.tokens import named
from lume_local._http.exchange import Ask, Problem, Reply, odd_problem, page_headers

SESSION_HEADER = "lume-console-session"
"""The header with the session of the console's page. Browsers don't send it by themselves, nor to other ports of the
host, as they would a cookie."""
LINK_LIMIT = 600.0
"""The validity of a link, in seconds."""
IDLE_LIMIT = 7 * 86400.0
"""Seconds after which a session without requests ends; an open page keeps it alive."""
TOKEN_LIMIT = 12 * 3600.0
"""Seconds after which a session that began with a token ends: its account may have been withdrawn meanwhile."""
_MOST = 100
"""The maximum number of links, and of sessions, per owner; a new one ends the owner's oldest."""


class Owner(NamedTuple):
    """The owner of links and sessions.

    Attributes:
        entry: the digest of the key that they derive from, or the entry of the token.
        name: the name of the person or program with the token, or of the person whom a link of the server's own key
            is for; None for the name of the key.
    """

    entry: str
    name: str | None = None


@frozen
class _Grant:
    """The permission behind a secret.

    Attributes:
        maker: the digest of the session that created it, and whose end ends it; None if a key created it.
        ends: the time at which it ends even if it is in use.
    """

    owner: Owner
    maker: bytes | None
    seen: float
    ends: float


_Grants = dict[bytes, _Grant]


class Sessions:
    """The links and sessions of one server."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._links: _Grants = {}
        self._sessions: _Grants = {}

    def new_token(self, owner: Owner, session: str | None = None, lasts: float = math.inf) -> str:
        """Return the token of a new link, which can be exchanged once for a session of that owner.

        Args:
            session: the secret of the session that creates it, unless the key does.
            lasts: the seconds after which that session ends even if it is in use.
        """
        maker = None if session is None else _digest(session)
        return self._add(self._links, owner, maker, self._clock() + lasts)

    def begin(self, token: str) -> str | None:
        """Exchange a token for a new session and return its secret; None if the token is wrong, expired or used."""
        link = self._links.pop(_digest(token), None)
        if link is None or not self._holds(link, LINK_LIMIT):
            return None
        return self._add(self._sessions, link.owner, link.maker, link.ends)

    def end(self, secret: str) -> None:
        """End a session, if it exists, with the links and sessions that it created."""
        self._sessions.pop(_digest(secret), None)

    def owner(self, secret: str) -> Owner | None:
        """Extend a session and return its owner; None if it is not valid."""
        digest = _digest(secret)
        session = self._sessions.pop(digest, None)
        if session is None or not self._holds(session, IDLE_LIMIT):
            return None
        # Inserting it last keeps the oldest one first.
        self._sessions[digest] = evolve(session, seen=self._clock())
        return session.owner

    def _holds(self, grant: _Grant, limit: float) -> bool:
        """Return whether a grant has not expired and the session that created it is still valid."""
        while self._clock() - grant.seen <= limit and self._clock() <= grant.ends:
            if grant.maker is None:
                return True
            maker = self._sessions.get(grant.maker)
            if maker is None:
                return False
            grant, limit = maker, IDLE_LIMIT
        return False

    def _add(self, grants: _Grants, owner: Owner, maker: bytes | None, ends: float) -> str:
        secret = secrets.token_urlsafe(32)
        grants[_digest(secret)] = _Grant(owner, maker, self._clock(), ends)
        same = [digest for digest, other in grants.items() if other.owner == owner]
        if len(same) > _MOST:
            del grants[same[0]]
        return secret


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


_FOLDER = Path(__file__).parents[1] / "_console"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGE = "index.html"
HEADERS = page_headers(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The policy of the page and its files: no other origins, no inline code, no strings as markup or scripts."""


class Console:
    """The page, its files, and its sessions.

    Args:
        keys: give a session the role of the key that created its link, as long as that key is valid.
        names: host names, besides addresses and `localhost`, under which the page may be opened.
    """

    def __init__(self, sessions: Sessions, keys: ApiKeys, names: Collection[str], at_issuers: SignIn) -> None:
        self._sessions, self._keys, self._at_issuers = sessions, keys, at_issuers
        self._names = {name.lower() for name in (*names, socket.gethostname())}

    def token(self, name: str | None = None) -> str:
        """Return the token of a new link, for a session that may do everything, of a person with this name."""
        return self._sessions.new_token(self._own(name))

    def _own(self, name: str | None) -> Owner:
        # Behind the key's name, so that nobody bears the name of another key.
        return Owner(self._keys.own, f"{OWN.name}:{named(name)}" if name else None)

    def holder(self, headers: Mapping[str, str]) -> Holder | None:
        """Return the holder of the session that a request without a key names, if any."""
        owner = self._sessions.owner(headers.get(SESSION_HEADER, ""))
        holder = None if owner is None else self._keys.of(owner.entry)
        if owner is None or holder is None or owner.name is None:
            return holder
        return evolve(holder, name=owner.name)

    async def page(self, ask: Ask) -> Reply:
        """Answer `GET /`; an issuer leads back to it with a query, which is for the page."""
        return self._file(ask, PAGE)

    async def file(self, ask: Ask) -> Reply:
        """Answer `GET /console/files/{file}`: the files that the page loads."""
        return self._file(ask, ask.path["file"])

    def _file(self, ask: Ask, name: str) -> Reply:
        self._check_host(ask.headers)
        content, content_type = _content(name)
        return Reply(200, content, HEADERS, content_type)

    async def sign_in(self, ask: Ask) -> Reply:
        """Answer `POST /console/session`: exchange the token of a link for a session, `{session}`.

        In place of `{token}`, the body may have the fields with which an issuer has led back: see `SignIn`.
        """
        self._check_host(ask.headers)
        fields = requests.json_object(ask.body, ask.content_type)
        token = fields.get("token")
        if "code" in fields:
            holder = await self._at_issuers.holder(fields, ask)
            token = self._sessions.new_token(Owner(holder.owner, holder.name), lasts=TOKEN_LIMIT)
        session = self._sessions.begin(token) if isinstance(token, str) else None
        if session is None:
            raise Problem(
                "unauthorized",
                "this link is wrong, older than 10 minutes, or already used: `lume console` prints another one",
            )
        return Reply(201, {"session": session})

    async def issuers(self, ask: Ask) -> Reply:
        """Answer `GET /console/issuers`: the other ways to sign in."""
        self._check_host(ask.headers)
        return Reply(200, {"items": await self._at_issuers.issuers()})

    async def session(self, ask: Ask) -> Reply:
        """Answer `GET /console/session`: who is signed in, and what they may do."""
        holder = self.holder(ask.headers)
        if holder is None:
            raise Problem(
                "unauthorized", "this session is over: open another link, which `lume console` prints"
            )
        return Reply(200, {"name": holder.name, "role": holder.role.name.lower()})

    async def sign_out(self, ask: Ask) -> Reply:
        self._sessions.end(ask.headers.get(SESSION_HEADER, ""))
        return Reply(204)

    async def new_link(self, ask: Ask) -> Reply:
        """Answer `POST /console/links`: the token of a new link, for a request with a key or a session.

        The body may have the `name` of the person whom a link of the server's own key is for; other keys have names.
        """
        key = ask.headers.get(KEY_HEADER)
        if key is not None:
            media = ask.content_type if ask.body else None
            fields = requests.known_fields(ask.body or b"{}", media, ("name",))
            name, entry = requests.optional_line(fields, "name"), self._keys.digest(key)
            of_key = self._own(name) if entry == self._keys.own else Owner(entry)
            return Reply(201, {"token": self._sessions.new_token(of_key), "name": of_key.name or ask.holder})
        session = ask.headers.get(SESSION_HEADER, "")
        owner = self._sessions.owner(session)
        if owner is None:
            of_token = self._sessions.new_token(Owner(ask.owner, ask.holder), lasts=TOKEN_LIMIT)
            return Reply(201, {"token": of_token})
        return Reply(201, {"token": self._sessions.new_token(owner, session)})

    def _check_host(self, headers: Mapping[str, str]) -> None:
        """Refuse a host name that may be another site's. Raises `Problem`."""
        host = headers.get("Host", "")
        if not is_own_host(host, self._names):
            raise odd_problem(
                421,
                f"the console is not at {host!r}: open it by the server's IP address or by localhost, or "
                "start the server with that name among console_hosts",
            )


def is_own_host(header: str, names: Collection[str]) -> bool:
    """Return whether a `Host` header is an address, `localhost`, or one of the names.

    Any other name may belong to another site that resolves to this machine (DNS rebinding): the console's page would
    run under that site's origin.
    """
    try:
        parts = urlsplit(f"//{header}")
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if host == "localhost" or host in names:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@cache
def _content(name: str) -> tuple[bytes, str]:
    """Return a file of the page and its content type. Raises `Problem` if it does not exist."""
    path = _paths().get(name)
    if path is None:
        raise Problem("not-found", f"there is no file {name!r} of the console")
    return path.read_bytes(), _TYPES[path.suffix]


@cache
def _paths() -> dict[str, Path]:
    """Return the path of each file of the page, by its name in URLs."""
    return {
        path.relative_to(_FOLDER).as_posix(): path for path in _FOLDER.rglob("*") if path.suffix in _TYPES
    }
