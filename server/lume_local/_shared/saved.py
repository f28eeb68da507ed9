"""Rereads files that people edit while a server runs."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from lume_async.errors import ConfigurationError

T = TypeVar("T")
_log = logging.getLogger("lume_local")


def stamp(path: Path) -> tuple[int, ...] | None:
    """Return a stamp that changes with a file and its permissions; None while it is missing, as in a save."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class OnReload(Protocol):
    """Called with a reread file, and the number of entries that it now has."""

    def __call__(self, path: Path, **found: int) -> None: ...


def unnoticed(path: Path, **found: int) -> None:
    """Ignore that a file was reread."""


def text_of(path: Path, what: str) -> str:
    """Return the text of a file. Raises `ConfigurationError`, which begins with `what` the file is."""
    try:
        return path.read_text("utf-8-sig")  # an editor may have added a byte order mark
    except OSError as error:
        raise ConfigurationError(f"{what}{path} can't be read: {error.strerror or error}") from None
    except UnicodeError as error:
        raise ConfigurationError(f"{what}{path} is not UTF-8: {error}") from None


class Reread(Generic[T]):
    """The content of files, reread on changes. A version that can't be used changes nothing, and is logged once.

    Such a version is read again with each look, for the cause may disappear without a change of the files: too many
    open files, or the middle of a save.

    Args:
        read: returns the current content. Raises `ConfigurationError`, even here.
        kept: what the log says of the previous content: "keys stay valid".

    Attributes:
        value: the content when it was last valid.
        trouble: why the current content is not in effect; empty if it is.
    """

    def __init__(self, read: Callable[[], T], kept: str, *paths: Path) -> None:
        self._read, self._kept, self._paths = read, kept, paths
        self._seen = self._stamps()
        self.value = read()
        self.trouble = ""

    def look(self) -> bool:
        """Return whether the files have changed and were reread."""
        seen = self._stamps()
        if seen == self._seen:
            return False
        try:
            self.value = self._read()
        except ConfigurationError as error:
            if str(error) != self.trouble:
                _log.error("%s; the previous %s", error, self._kept)
            self.trouble = str(error)
            return False
        self._seen, self.trouble = seen, ""
        return True

    def _stamps(self) -> list[tuple[int, ...] | None]:
        return [stamp(path) for path in self._paths]
