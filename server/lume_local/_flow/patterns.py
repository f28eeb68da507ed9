"""Patterns of paths and keys, as in `glob`: `**` matches any depth, hidden names match no wildcard. Pure."""

import fnmatch
import re
from itertools import zip_longest

MOST_FILES = 1000
"""The maximum number of files or objects that one run may read."""
MOST_ENTRIES = 1_000_000
"""The maximum number of files and folders, or objects, to examine for one pattern."""
ANY_DEPTH = "**"


def parts_of(pattern: str) -> list[str]:
    """Return the pattern's parts; `**` is never repeated, nor last: there it means all files at any depth."""
    split = list(filter(None, pattern.split("/")))
    parts = [part for part, after in zip_longest(split, split[1:]) if (part, after) != (ANY_DEPTH, ANY_DEPTH)]
    return [*parts, "*"] if parts[-1] == ANY_DEPTH else parts


class Part:
    """One part of a pattern that is not `**`."""

    def __init__(self, part: str) -> None:
        self._matches = re.compile(fnmatch.translate(part)).match
        self._with_hidden = part.startswith(".")

    def matches(self, name: str) -> bool:
        return self._matches(name) is not None and (self._with_hidden or not name.startswith("."))


class Pattern:
    """A whole pattern, for keys that are not in folders."""

    def __init__(self, pattern: str) -> None:
        self._parts = [None if part == ANY_DEPTH else Part(part) for part in parts_of(pattern)]

    def matches(self, path: str) -> bool:
        return len(self._parts) in self._reached(path)

    def leads_on(self, folder: str) -> bool:
        """Return whether files in this folder, or below it, may match."""
        return any(n < len(self._parts) for n in self._reached(folder))

    def _reached(self, path: str) -> set[int]:
        """Return how many parts a whole path may match."""
        at = self._onward({0})
        for name in path.split("/"):
            at = self._onward({after for n in at if (after := self._after(n, name)) is not None})
        return at

    def _after(self, n: int, name: str) -> int | None:
        """Return how many parts match after this name, if `n` matched before it."""
        if n == len(self._parts):
            return None
        part = self._parts[n]
        if part is None:
            return None if name.startswith(".") else n
        return n + 1 if part.matches(name) else None

    def _onward(self, at: set[int]) -> set[int]:
        """Add the positions after `**`, which may match nothing."""
        return at | {n + 1 for n in at if n < len(self._parts) and self._parts[n] is None}
