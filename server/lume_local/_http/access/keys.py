"""API keys and roles: the server's own key may do everything, the keys of `keys.toml` as much as their role allows.

The file holds only digests, which can't be used as keys, and rules that give a role to tokens of an issuer. It is
reread whenever it changes, so keys can be added and revoked without a restart.
"""

import enum
import hashlib
import logging
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from lume_local._flow.fields import FlowError, Table
from lume_local._flow.mistakes import Mistakes, read_settings, top_table
from lume_local._shared.failing import require
from lume_local._shared.saved import OnReload, Reread, stamp, unnoticed

_log = logging.getLogger("lume_local")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
KEY_HEADER = "lume-api-key"
_BOUNDS, _MOST = ("max_active", "submissions_per_minute"), 1_000_000
"""The settings that limit the runs of a key, and the highest value of either."""
_LONGEST = 2000
"""The maximum length, in characters, of the settings that tokens are compared with."""


class Role(enum.IntEnum):
    """The permissions of a key; each role includes the ones before it."""

    READ = 1
    """See runs, their rows, flows and metrics."""
    SUBMIT = 2
    """Submit and cancel runs, upload files."""
    ADMIN = 3
    """Register flow versions."""


_ROLES = tuple(role.name.lower() for role in Role)


@frozen
class Holder:
    """The holder of a key or of a token.

    Attributes:
        owner: identifies the holder in console sessions: the digest of the key, or the entry of the file.
        max_active: how many runs of the entry are executed at a time; None: limited only by the server's own maximum.
        submissions_per_minute: how many runs of the entry may be submitted; None: any number.
    """

    name: str
    role: Role
    owner: str = field(default="", repr=False)
    max_active: int | None = None
    submissions_per_minute: int | None = None


@frozen
class Grant:
    """A rule that gives a role to tokens of an issuer.

    Attributes:
        holder: the holder, named after the entry.
        claim: the claim that must have `value`; None if every token for the audience has the role.
        client_id: the ID of the console at the issuer; None if nobody signs in there.
    """

    holder: Holder
    issuer: str
    audience: str
    claim: str | None
    value: str
    client_id: str | None = None

    def allows(self, claims: dict[str, Any]) -> bool:
        """Return whether the claim is or contains the value. `a.b` is member `b` of `a`, unless it names a claim."""
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


class ApiKeys:
    """The keys of one server.

    Args:
        path: the path of `keys.toml`; None if there are no other keys.

    Raises:
        ConfigurationError: the file can't be read, or has a mistake.
    """

    def __init__(self, own: str, path: Path | None, on_reload: OnReload = unnoticed) -> None:
        self.own = self.digest(own)
        self._path, self._on_reload, self._file = path, on_reload, None
        if path is not None:
            read_keys(path)  # the file may disappear later, but must exist at the start
            # A missing file revokes all keys.
            self._file = Reread(
                lambda: ({}, ()) if stamp(path) is None else read_keys(path), "keys stay valid", path
            )

    def holder(self, key: bytes) -> Holder | None:
        # Comparing digests reveals nothing about keys by its duration.
        return self.of(hashlib.sha256(key).hexdigest())

    @staticmethod
    def digest(key: str) -> str:
        """Return the digest of a key, which can't be used as a key."""
        return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()

    def of(self, digest: str) -> Holder | None:
        """Return the holder of the key with this digest; None if it is unknown or was revoked."""
        holders, _ = self._now()
        return OWN if digest == self.own else holders.get(digest)

    def at_limit(self, active: Mapping[str | None, int]) -> list[str]:
        """Return the entries with their maximum of active runs, in the form that `SqlStore.next_waiting` takes.

        An entry for tokens limits all its tokens together, however many people use them.

        Args:
            active: the number of active runs of each holder, by its name.
        """
        holders, grants = self._now()
        found = list[str]()
        of_tokens = {grant.holder.name for grant in grants}
        for holder in holders.values():
            if holder.max_active is None:
                continue
            names = [holder.name] + [f"{holder.name}:"] * (holder.name in of_tokens)
            prefixes = tuple(name for name in names if name.endswith(":"))
            runs = sum(
                count
                for name, count in active.items()
                if name is not None and (name in names or name.startswith(prefixes))
            )
            if runs >= holder.max_active:
                found += names
        return found

    def has_other(self, name: str) -> bool:
        """Return whether somebody else may submit: with another key or token, or a link of this key with a name."""
        holders, grants = self._now()
        others = {OWN.name, *(one.name for one in holders.values() if one.role >= Role.SUBMIT)} - {name}
        return ":" in name or bool(others) or any(one.holder.role >= Role.SUBMIT for one in grants)

    @property
    def grants(self) -> tuple[Grant, ...]:
        """The rules that give roles to tokens, as they are now."""
        _, grants = self._now()
        return grants

    def _now(self) -> "_Keys":
        if self._path is None or self._file is None:
            return {}, ()
        if self._file.look():
            holders, _ = self._file.value
            _log.warning("%s was read again: %d keys", self._path, len(holders))
            self._on_reload(self._path, keys=len(holders))
        return self._file.value


_Keys = tuple[dict[str, Holder], tuple[Grant, ...]]


def read_keys(path: Path) -> _Keys:
    """Return the holders, by the digest of their key or by the entry of their tokens. Raises `ConfigurationError`."""
    return read_settings(path, "keys", _read)


def _read(text: str) -> _Keys:
    """Read the keys. Raises `FlowError` for the first mistake, with the `others`."""
    mistakes, top = Mistakes(text), top_table(text)
    holders, grants = dict[str, Holder](), list[Grant]()
    for name in top.values:
        found = mistakes.noting(partial(_entry, top, name), None)
        if isinstance(found, Grant):
            grants.append(found)
            found = found.holder
        if found is not None and found.owner in holders:
            mistakes.add(FlowError(name, f"has the same key as {holders[found.owner].name}"))
        elif found is not None:
            holders[found.owner] = found
    for holder in holders.values():
        for one in grants:
            if holder.name.startswith(f"{one.holder.name}:"):
                words = (
                    f"may be the name of somebody with a token of [{one.holder.name}]: choose another name"
                )
                mistakes.add(FlowError(holder.name, words))
    mistakes.check()
    return holders, tuple(grants)


def _entry(top: Table, name: str) -> Holder | Grant:
    table = top.table(name)
    if name.partition(":")[0] == OWN.name:  # the rest is the name of somebody with a link of that key
        raise FlowError(name, "is what the server's own key is called: choose another name")
    is_grant = table.present("issuer")
    if not is_grant and "sha256" not in table.values:
        raise FlowError(name, "must have role and sha256; or, for tokens, role, issuer and audience")
    role = table.choice("role", _ROLES, default=None)
    if role is None:
        raise FlowError(table.at("role"), f"is missing: it must be one of {', '.join(_ROLES)}")
    owner = f"entry {name}" if is_grant else table.text("sha256")
    if not (is_grant or _DIGEST.fullmatch(owner)):  # it may be the key itself, so it is not repeated
        words = "must be the SHA-256 of the key in hex, as `lume key new` writes it"
        raise FlowError(table.at("sha256"), words)
    bounds = {key: table.count(key, most=_MOST) for key in _BOUNDS if table.present(key)}
    for key, number in bounds.items():
        if not number:
            raise FlowError(table.at(key), f"must be a whole number from 1 to {_MOST:,}")
    holder = Holder(name, Role[role.upper()], owner, **bounds)
    found = _grant(table, holder) if is_grant else holder
    table.refuse_unknown()
    return found


def _grant(table: Table, holder: Holder) -> Grant:
    issuer, audience = (table.text(key, longest=_LONGEST) for key in ("issuer", "audience"))
    claim, value, client_id = (
        table.text(key, longest=_LONGEST) if table.present(key) else None
        for key in ("claim", "value", "client_id")
    )
    if (claim is None) is not (value is None):
        raise FlowError(table.place, "has claim or value, which belong together: give both, or neither")
    if not is_confidential(issuer):
        raise FlowError(table.at("issuer"), "must be an https:// URL, exactly as its tokens have it in iss")
    try:
        require("joserfc", "oidc", f"keys: [{table.place}] (issuer)")
    except ModuleNotFoundError as error:
        raise FlowError(table.at("issuer"), str(error)) from None
    return Grant(holder, issuer, audience, claim, value or "", client_id)


def is_confidential(url: Any) -> bool:
    """Return whether a URL is HTTPS, or HTTP on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except (ValueError, AttributeError):
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK))
