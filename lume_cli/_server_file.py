"""The file in which `lume serve` keeps its URL and key, so that the other commands find it.

It is `.lume/state/server.json`; runs can neither read nor write the state folder. The file is kept when the server
stops, so that the next start uses the same port and key. Until then another program may listen on that port.
"""

import getpass
import json
import os
import secrets
import stat
from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen

from lume_async._base import platform

FOLDER = ".lume"
STATE = "state"
NAME = "server.json"
_LOCK = "lock"
"""The lock file beside it: a running server holds the lock, and the file identifies its process."""


@frozen
class ServerFile:
    """A server's description of itself; it may have stopped since."""

    path: Path
    base_url: str
    api_key: str = field(repr=False)
    pid: int | None = None

    @property
    def port(self) -> int:
        """The port that it listened on; 0 if the URL has none."""
        return urlsplit(self.base_url).port or 0

    @property
    def home(self) -> Path:
        """The folder that contains the `.lume` folder."""
        return self.path.parents[2]

    @property
    def is_running(self) -> bool:
        """Whether the server is running, possibly restarted. If not, another program may listen on its port."""
        now = read(self.path.parent)
        if now is None or now.base_url != self.base_url:
            return False
        lock = self.path.with_name(_LOCK)
        try:
            return platform.is_locked(lock) and (now.pid is None or _may_hold(lock, now.pid))
        except OSError:  # a file system without locks
            return True

    @property
    def moved_to(self) -> str | None:
        """The URL of the server that now runs for the folder, if it has changed."""
        now = read(self.path.parent)
        return now.base_url if now is not None and now.base_url != self.base_url and now.is_running else None


def _may_hold(lock: Path, pid: int) -> bool:
    """Return whether a process took the lock; only as certain as the file's record of the process."""
    try:
        held_by = json.loads(lock.read_bytes())
    except ValueError:
        return False
    return isinstance(held_by, dict) and held_by.get("pid", pid) == pid


def nearest() -> ServerFile | None:
    """Return the file of the nearest `.lume` folder, from the current folder upwards; None if it is gone."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return None
    for folder in (here, *here.parents):
        if (found := read(folder / FOLDER / STATE)) is not None:
            return found
    return None


def read(state: Path) -> ServerFile | None:
    """Return the file of a state; None if it is missing, invalid, or could have been written by another user.

    So it is not used on Windows, where everybody may create a folder in `C:\\`; a server would run in WSL there.
    """
    path = state / NAME
    try:
        about = path.lstat()
        if not (stat.S_ISREG(about.st_mode) and platform.is_own(about)):
            return None
        if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return None
        held = json.loads(path.read_bytes())
        urlsplit(held["base_url"]).port  # noqa: B018 - raises ValueError
        return ServerFile(path, str(held["base_url"]), str(held["api_key"]), held.get("pid"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def write(folder: Path, base_url: str, api_key: str) -> Path:
    """Write the file of a state. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = json.dumps({"base_url": base_url, "api_key": api_key, "pid": os.getpid()}, indent=2)
    replace(folder / NAME, f"{text}\n")
    return folder / NAME


def replace(path: Path, text: str) -> None:
    """Write a file atomically, readable by its owner only: a concurrent reader gets the old or the new content."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        platform.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def user() -> str | None:
    """Return the name of the user who runs this command; None if the system has none."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # the user of a container may have no name
        return None
