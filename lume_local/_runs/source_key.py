"""What a run's source key names: it is written by `Flows.source_key` and `Wanted.key`. Pure."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

_CONTENT = re.compile(r"#[0-9a-f]{64}$")
"""What a development server adds: the content of the flow version."""


def places_of(key: str) -> list[str]:
    """The files, patterns and URLs of a source."""
    return _CONTENT.sub("", key).split("\n")


class InUse:
    """The sources of some runs."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._places = {place for key in keys for place in places_of(key)}
        self._patterns = [place for place in self._places if set(place) & set("*?[")]

    def has(self, path: str) -> bool:
        """Whether one of the runs may read that file."""
        return path in self._places or any(fnmatchcase(path, pattern) for pattern in self._patterns)
