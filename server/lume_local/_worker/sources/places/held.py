"""Holds the files of a source open: the file read is the one checked, even if a path is replaced meanwhile.

Readers, above all DuckDB's, open a file by name, some of them several times. An open file has its own name in
`/proc`, which leads only to it. On systems without `/proc` the file is copied from the descriptor.
"""

import os
import re
import resource
import shutil
from contextlib import suppress
from pathlib import Path

import duckdb

from lume_local._worker.sources.source import SourceError

_NAMES = Path("/proc/self/fd")
_NAME = re.compile(rf"{_NAMES}/\d+")
_BLOCK = 4 * 1024 * 1024
_SPARE = 256
"""Descriptors for everything else that a run opens."""
_paths: dict[str, str] = {}
"""The paths of held files by the names under which they are read, even after they are closed."""


class Held:
    """Holds files until it is closed."""

    def __init__(self) -> None:
        self._handles: list[int] = []

    def hold(self, handle: int, path: Path, copy: Path, most: int | None = None) -> Path:
        """Take an open file; return the path to read it by: in `/proc`, or a copy at `copy` of up to `most` bytes."""
        self._handles.append(handle)
        if _NAMES.exists():
            _paths[f"{_NAMES}/{handle}"] = str(path)
            return _NAMES / str(handle)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.dup(handle), "rb") as file, copy.open("wb") as out:
            if most is None:
                shutil.copyfileobj(file, out, _BLOCK)
            else:
                out.write(file.read(most))
        return copy

    def close(self) -> None:
        while self._handles:
            os.close(self._handles.pop())


def make_room(files: int) -> None:
    """Allow this process so many open files, as a source may have more than the system's default."""
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files + _SPARE
    if least != resource.RLIM_INFINITY and least < wanted:
        with suppress(OSError, ValueError):  # the run then reports which file can't be opened
            resource.setrlimit(
                resource.RLIMIT_NOFILE,
                (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most),
            )


def named(message: str) -> str:
    """Replace the names of held files in a message with their own paths."""
    return _NAME.sub(lambda found: _paths.get(found[0], found[0]), message)


def moved(error: duckdb.Error) -> str:
    """Return the path of a held file that DuckDB refuses; empty for any other error.

    DuckDB resolves the name again, and refuses the file if it was moved.
    """
    found = _NAME.search(str(error)) if isinstance(error, duckdb.PermissionException) else None
    return _paths.get(found[0], "") if found else ""


def changed(shown: str | Path) -> SourceError:
    """Return the error for a file that changed while it was read."""
    return SourceError(f"{shown} was changed while it was read: submit the run again")
