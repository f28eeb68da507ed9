"""API keys and their roles: the server's own key may do everything, those of `keys.toml` what their role allows.

The file has only digests of the keys, which can't be used as keys, and which tokens of an issuer have a role. It is
read again when it has changed, so that keys are added and revoked without a restart.
"""

import enum
import hashlib
import logging
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from lume_async._base.extras import require
from lume_async.errors import ConfigurationError
from lume_local._shared.saved import stamp

_log = logging.getLogger("lume_local")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SAFE = ("GET", "HEAD")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
KEY_HEADER = "lume-api-key"
_BOUNDS, _MOST = {"max_active", "submissions_per_minute"}, 1_000_000
"""What bounds the runs of a key, and the largest of these numbers."""


class Role(enum.IntEnum):
    """What a key may do; each role includes the ones before it."""

    READ = 1
    """See runs, their rows, flows and metrics."""
    SUBMIT = 2
    """Submit and cancel runs, upload files."""
    ADMIN = 3
    """Register flow versions."""


@frozen
class Holder:
    """The holder of a key, or of a token.

    Attributes:
        owner: what sessions of the console derive from: the digest of the key, or the entry of the file.
        max_active: of the runs of its entry, how many are executed at a time; None: as many as of all.
        submissions_per_minute: of its entry, too; None: any number.
    """

    name: str
    role: Role
    owner: str = field(default="", repr=False)
    max_active: int | None = None
    submissions_per_minute: int | None = None


@frozen
class Grant:
    """Which tokens of an issuer have a role.

    Attributes:
        holder: its name is the one of the entry.
        claim: where in the claims `value` must be; None if every token for the audience has the role.
        client_id: what the console is called at the issuer; None if nobody signs in there.
    """

    holder: Holder
    issuer: str
    audience: str
    claim: str | None
    value: str
    client_id: str | None = None

    def allows(self, claims: dict[str, Any]) -> bool:
        """Whether the claim is or contains the value. `a.b` is the member `b` of `a` if no claim has that name."""
        if self.claim is None:
            return True
        found: Any = claims
        for name in [self.claim] if self.claim in claims else self.claim.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        return self.value in (
            found.split() if isinstance(found, str) else found if isinstance(found, list) else ()
        )


OWN = Holder("server", Role.ADMIN)
"""The holder of the server's own key."""

_NEEDED = {
    ("PUT", "/v1/flows/{flow}/versions/{version}"): Role.ADMIN,
    ("GET", "/v1/server"): Role.ADMIN,
    ("GET", "/v1/audit"): Role.ADMIN,
    ("POST", "/console/links"): Role.READ,  # the session may do what the key may
    ("GET", "/v1/uploads/{name}"): Role.SUBMIT,  # it ends a request that is still sending
    ("HEAD", "/v1/uploads/{name}"): Role.SUBMIT,
}


def needed(method: str, path: str) -> Role:
    """The lowest role that may do this; the path as in the router."""
    return _NEEDED.get(
        ("GET" if method == "HEAD" else method, path), Role.READ if method in _SAFE else Role.SUBMIT
    )


class ApiKeys:
    """The keys of one server.

    Args:
        path: of `keys.toml`; None if there are no other keys.
        on_reload: called with the path and the number of keys once they were read again.

    Raises:
        ConfigurationError: the file can't be read, or has a mistake.
    """

    def __init__(
        self, own: str, path: Path | None, on_reload: Callable[[Path, int], None] = lambda path, keys: None
    ) -> None:
        self.own = self.digest(own)
        self._path, self._on_reload = path, on_reload
        self._state = None if path is None else stamp(path)
        self._trouble = ""
        self._holders, self._grants = ({}, ()) if path is None else read_keys(path)

    def holder(self, key: bytes) -> Holder | None:
        # By digest, so the duration reveals nothing about keys.
        return self.of(hashlib.sha256(key).hexdigest())

    @staticmethod
    def digest(key: str) -> str:
        """The digest of a key, which can't be used as a key."""
        return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()

    def of(self, digest: str) -> Holder | None:
        """The holder of the key with this digest; None if there is none, or it was revoked."""
        if digest == self.own:
            return OWN
        if self._path is not None:
            self._read_again(self._path)
        return self._holders.get(digest)

    def at_limit(self, active: Mapping[str | None, int]) -> list[str]:
        """The entries of which as many runs are active as are allowed, as `Store.next_waiting` takes them.

        All tokens of an entry count together: it bounds what it lets in, however many people that is.

        Args:
            active: how many runs of each holder are active, by its name.
        """
        if self._path is not None:
            self._read_again(self._path)
        found = list[str]()
        of_tokens = {grant.holder.name for grant in self._grants}
        for holder in self._holders.values():
            names = [holder.name] + [f"{holder.name}:"] * (holder.name in of_tokens)
            if holder.max_active is not None and _of(names, active) >= holder.max_active:
                found += names
        return found

    @property
    def grants(self) -> tuple[Grant, ...]:
        """Which tokens have a role now."""
        if self._path is not None:
            self._read_again(self._path)
        return self._grants

    def _read_again(self, path: Path) -> None:
        """Read the file if it has changed. A missing file revokes all keys.

        A file that can't be read or has a mistake changes nothing, and is read again with each request: the cause may
        disappear without a change of the file, such as too many open files.
        """
        state = stamp(path)
        if state == self._state:
            return
        try:
            self._holders, self._grants = ({}, ()) if state is None else read_keys(path)
        except ConfigurationError as error:
            if str(error) != self._trouble:
                _log.error("%s; the previous keys stay valid", error)
            self._trouble = str(error)
        else:
            self._state, self._trouble = state, ""
            _log.warning("%s was read again: %d keys", path, len(self._holders))
            self._on_reload(path, len(self._holders))


def _of(names: Sequence[str], active: Mapping[str | None, int]) -> int:
    """How many runs the holders with these names have; one that ends with a colon is the beginning of many."""
    begins = tuple(name for name in names if name.endswith(":"))
    return sum(
        count
        for name, count in active.items()
        if name is not None and (name in names or name.startswith(begins))
    )


def read_keys(path: Path) -> tuple[dict[str, Holder], tuple[Grant, ...]]:
    """The holders by the digests of their keys, or by the entries of their tokens. Raises `ConfigurationError`."""
    try:
        tables = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"keys: {path} can't be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigurationError(f"keys: {path} is not TOML: {error}") from None
    holders: dict[str, Holder] = {}
    grants = []
    for name, table in tables.items():
        place = f"keys: {path}: [{name}]"
        if isinstance(table, dict) and "issuer" in table:
            grants.append(_grant(place, name, table))
            holders[grants[-1].holder.owner] = grants[-1].holder
            continue
        digest = _digest_of(place, table)
        if digest in holders:
            raise ConfigurationError(f"keys: {path}: {name} and {holders[digest].name} have the same key")
        holders[digest] = Holder(name, _role(place, table), digest, **_bounds(place, table))
    return holders, tuple(grants)


def _digest_of(place: str, table: Any) -> str:
    needed = {"role", "sha256"}
    if not isinstance(table, dict) or not needed <= set(table) <= needed | _BOUNDS:
        raise ConfigurationError(
            f"{place} must have role and sha256, perhaps also {' and '.join(sorted(_BOUNDS))}; nothing else; or "
            "role, issuer and audience"
        )
    digest = table["sha256"]
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ConfigurationError(
            f"{place}: sha256 must be the SHA-256 of the key in hex, as `lume key new` writes it"
        )
    return digest


def _bounds(place: str, table: dict[str, Any]) -> dict[str, int]:
    given = {name: table[name] for name in _BOUNDS & set(table)}
    for name, value in given.items():
        if type(value) is not int or not 1 <= value <= _MOST:
            raise ConfigurationError(f"{place}: {name} must be a whole number from 1 to {_MOST:,}")
    return given


def _role(place: str, table: dict[str, Any]) -> Role:
    roles = {role.name.lower(): role for role in Role}
    role = roles.get(str(table["role"]))
    if role is None:
        raise ConfigurationError(f"{place}: role must be one of {', '.join(roles)}")
    return role


def _grant(place: str, name: str, table: dict[str, Any]) -> Grant:
    needed, pair = {"role", "issuer", "audience"}, {"claim", "value"}
    if not needed <= set(table) <= needed | pair | {"client_id"} | _BOUNDS or len(pair & set(table)) == 1:
        raise ConfigurationError(
            f"{place} must have role, issuer and audience, perhaps also claim with value, client_id, "
            f"{' and '.join(sorted(_BOUNDS))}; nothing else"
        )
    for key, value in table.items():
        if key in _BOUNDS:
            continue
        if not isinstance(value, str) or not value.strip():
            raise ConfigurationError(f"{place}: {key} must be a string that is not empty")
    if not is_confidential(table["issuer"]):
        raise ConfigurationError(
            f"{place}: issuer must be an https:// URL, exactly as its tokens have it in iss"
        )
    try:
        require("joserfc", "oidc", f"{place} (issuer)")
    except ModuleNotFoundError as error:
        raise ConfigurationError(str(error)) from None
    holder = Holder(name, _role(place, table), f"entry {name}", **_bounds(place, table))
    return Grant(
        holder,
        table["issuer"],
        table["audience"],
        table.get("claim"),
        table.get("value", ""),
        table.get("client_id"),
    )


def is_confidential(url: Any) -> bool:
    """Whether a URL is HTTPS, or HTTP on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except (ValueError, AttributeError):
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK))
