"""The file in which `lume serve` keeps its URL and key, so that the other commands find it.

It is `.lume/state/server.json`: no run reads or writes what lies in the state of a server.
"""

import json
import os
import stat
from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen

FOLDER = ".lume"
STATE = "state"
NAME = "server.json"


@frozen
class ServerFile:
    """What a server wrote about itself; it may have stopped since."""

    path: Path
    base_url: str
    api_key: str = field(repr=False)

    @property
    def port(self) -> int:
        """The port that it listened on; 0 if the URL has none."""
        return urlsplit(self.base_url).port or 0


def nearest(start: Path) -> ServerFile | None:
    """That of the nearest `.lume` folder, from `start` upwards."""
    for folder in (start, *start.parents):
        if (found := read(folder / FOLDER)) is not None:
            return found
    return None


def read(data: Path) -> ServerFile | None:
    """The file of a data folder; None if there is none, or if somebody else could have written it."""
    path = data / STATE / NAME
    try:
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode) or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return None
        if hasattr(os, "getuid") and about.st_uid != os.getuid():
            return None
        held = json.loads(path.read_bytes())
        urlsplit(held["base_url"]).port  # noqa: B018 - raises ValueError
        return ServerFile(path, str(held["base_url"]), str(held["api_key"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def write(data: Path, base_url: str, api_key: str) -> Path:
    """Write the file, readable by its owner only, and at once or not at all. Raises OSError."""
    folder = data / STATE
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path, draft = folder / NAME, folder / f".{NAME}.{os.getpid()}"
    text = json.dumps({"base_url": base_url, "api_key": api_key}, indent=2) + "\n"
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
