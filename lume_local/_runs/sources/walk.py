"""The files that a pattern matches, like `glob`, by a walk that always ends.

`**` does not follow symbolic links: two that lead to a parent folder make an exponential number of paths.
"""

import glob
import os
from collections.abc import Callable, Iterator

from lume_local._flow.patterns import ANY_DEPTH, MOST_ENTRIES, Part, parts_of


class WalkFailed(Exception):
    """The search could not be completed. The message says why."""


class Walk:
    """One search. Runs in a thread, and ends soon after `is_stopped` returns True."""

    def __init__(self, is_stopped: Callable[[], bool]) -> None:
        self._is_stopped = is_stopped
        self._seen = 0

    def files(self, folder: str, pattern: str) -> list[str]:
        """The matching files below a folder, sorted; no folders and no hidden files. Raises `WalkFailed`."""
        if pattern.endswith("/"):
            return []
        parts = parts_of(pattern)
        folders = [folder]
        for part in parts[:-1]:
            found = (below for one in folders for below in self._folders(one, part))
            folders = list(dict.fromkeys(found))
        return sorted({file for one in folders for file in self._matching(one, parts[-1], os.path.isfile)})

    def _folders(self, folder: str, part: str) -> Iterator[str]:
        if part == ANY_DEPTH:
            return self._all_folders(folder)
        return self._matching(folder, part, os.path.isdir)

    def _all_folders(self, folder: str) -> Iterator[str]:
        waiting = [folder]
        while waiting:
            one = waiting.pop()
            yield one
            waiting += [
                entry.path
                for entry in self._entries(one)
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]

    def _matching(self, folder: str, part: str, is_wanted: Callable[[str], bool]) -> Iterator[str]:
        if not glob.has_magic(part):
            path = os.path.join(folder, part)
            return iter([path] if is_wanted(path) else [])
        matches = Part(part).matches
        return (
            entry.path for entry in self._entries(folder) if matches(entry.name) and is_wanted(entry.path)
        )

    def _entries(self, folder: str) -> Iterator["os.DirEntry[str]"]:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._count()
                    yield entry
        except (FileNotFoundError, NotADirectoryError):
            return  # removed meanwhile
        except OSError as error:
            raise WalkFailed(f"the folder {folder} can't be read: {error.strerror or error}") from None

    def _count(self) -> None:
        self._seen += 1
        if self._is_stopped():
            raise WalkFailed("the search for files was stopped")
        if self._seen > MOST_ENTRIES:
            raise WalkFailed(
                f"there are more than {MOST_ENTRIES:,} files and folders to search: write more of the path before "
                "its first wildcard"
            )
