"""What a run's source key names: it is written by `Flows.source_key` and `Wanted.key`."""

import os
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

_CONTENT = re.compile(r"#[0-9a-f]{64}$")
"""What a development server adds: the content of the flow version."""
_CHOICE = re.compile(r"\[!?\]?[^\]]*\]")
"""What a pattern has in brackets. In a key it may also be part of a source path, which means itself."""


def places_of(key: str) -> list[str]:
    """The files, patterns and URLs of a source."""
    return _CONTENT.sub("", key).split("\n")


class InUse:
    """The sources of some runs."""

    def __init__(self, keys: Iterable[str]) -> None:
        named = {place for key in keys for place in places_of(key)}
        # What is to be removed is known by its real path; a key keeps the symbolic links that a source path has.
        self._places = named | {os.path.realpath(place) for place in named if place.startswith("/")}
        self._patterns = [_CHOICE.sub("*", place) for place in self._places if set(place) & set("*?[")]

    def has(self, path: str) -> bool:
        """Whether one of the runs may read that file."""
        return path in self._places or any(fnmatchcase(path, pattern) for pattern in self._patterns)
