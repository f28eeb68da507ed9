"""API keys and their roles: the server's own key may do everything, those of `keys.toml` what their role allows.

The file has only digests of the keys, which can't be used as keys. It is read again when it has changed, so that keys
are added and revoked without a restart.
"""

import enum
import hashlib
import logging
import re
import tomllib
from pathlib import Path
from typing import Any

from attrs import frozen

from lume_async.errors import ConfigurationError
from lume_local._shared.identity import stamp

_log = logging.getLogger("lume_local")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SAFE = ("GET", "HEAD")
KEY_HEADER = "lume-api-key"


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
    """The holder of a key."""

    name: str
    role: Role


OWN = Holder("server", Role.ADMIN)
"""The holder of the server's own key."""

_NEEDED = {
    ("PUT", "/v1/flows/{flow}/versions/{version}"): Role.ADMIN,
    ("POST", "/console/links"): Role.READ,  # the session may do what the key may
}


def needed(method: str, path: str) -> Role:
    """The lowest role that may do this; the path as in the router."""
    return _NEEDED.get((method, path), Role.READ if method in _SAFE else Role.SUBMIT)


class ApiKeys:
    """The keys of one server.

    Args:
        path: of `keys.toml`; None if there are no other keys.

    Raises:
        ConfigurationError: the file can't be read, or has a mistake.
    """

    def __init__(self, own: str, path: Path | None) -> None:
        self.own = self.digest(own)
        self._path = path
        self._state = None if path is None else stamp(path)
        self._trouble = ""
        self._holders = {} if path is None else read_keys(path)

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

    def _read_again(self, path: Path) -> None:
        """Read the file if it has changed. A missing file revokes all keys.

        A file that can't be read or has a mistake changes nothing, and is read again with each request: the cause may
        disappear without a change of the file, such as too many open files.
        """
        state = stamp(path)
        if state == self._state:
            return
        try:
            self._holders = {} if state is None else read_keys(path)
        except ConfigurationError as error:
            if str(error) != self._trouble:
                _log.error("%s; the previous keys stay valid", error)
            self._trouble = str(error)
        else:
            self._state, self._trouble = state, ""
            _log.warning("%s was read again: %d keys", path, len(self._holders))


def read_keys(path: Path) -> dict[str, Holder]:
    """The holders by the digests of their keys. Raises `ConfigurationError`."""
    try:
        tables = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"keys: {path} can't be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigurationError(f"keys: {path} is not TOML: {error}") from None
    holders: dict[str, Holder] = {}
    for name, table in tables.items():
        digest, holder = _entry(path, name, table)
        if digest in holders:
            raise ConfigurationError(f"keys: {path}: {name} and {holders[digest].name} have the same key")
        holders[digest] = holder
    return holders


def _entry(path: Path, name: str, table: Any) -> tuple[str, Holder]:
    roles = {role.name.lower(): role for role in Role}
    if not isinstance(table, dict) or set(table) != {"role", "sha256"}:
        raise ConfigurationError(f"keys: {path}: [{name}] must have role and sha256, and nothing else")
    if table["role"] not in roles:
        raise ConfigurationError(f"keys: {path}: [{name}]: role must be one of {', '.join(roles)}")
    if not isinstance(table["sha256"], str) or not _DIGEST.fullmatch(table["sha256"]):
        raise ConfigurationError(
            f"keys: {path}: [{name}]: sha256 must be the SHA-256 of the key in hex, as `lume key new` writes it"
        )
    return table["sha256"], Holder(name, roles[table["role"]])
