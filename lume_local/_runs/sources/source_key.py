"""What a run's source key names: it is written by `Flows.source_key`, `with_content` and `Wanted.key`."""

import os
import re
from collections.abc import Iterable
from fnmatch import translate

_CONTENT = re.compile(r"(#[0-9a-f]{64}){1,2}$")
"""The content of the source, where that is a part of its identity, and what a development server adds: the content of
the flow version.
"""
_CHOICE = re.compile(r"\[!?\]?[^\]]*\]")
"""What a pattern has in brackets. In a key it may also be part of a source path, which means itself."""
_MANY = 100
"""Files of one folder, from which on reading it is quicker than to ask for each."""
_MAGIC = re.compile(r"[*?[]")


def with_content(located: str, digest: str) -> str:
    """The key of a source whose identity is its place and its content."""
    return f"{located}#{digest}"


def content_in(key: str, located: str) -> str:
    """The digest in a key that `with_content` has made."""
    return key.removeprefix(f"{located}#")[:64]


def places_of(key: str) -> list[str]:
    """The files, patterns and URLs of a source."""
    return _CONTENT.sub("", key).split("\n")


class InUse:
    """The sources of some runs, of a hundred thousand, say."""

    def __init__(self, keys: Iterable[str]) -> None:
        named = {place for key in keys for place in places_of(key)}
        # What is to be removed is known by its real path; a key keeps the symbolic links that a source path has.
        self._places = named | set(_real({place for place in named if place.startswith("/")}).values())
        self._patterns: dict[str, list[str]] = {}
        for place in self._places:
            if _MAGIC.search(place):
                pattern = _CHOICE.sub("*", place)
                start = _MAGIC.split(pattern, maxsplit=1)[0].rpartition("/")[0]
                self._patterns.setdefault(start, []).append(pattern)
        self._compiled: dict[str, list[re.Pattern[str]]] = {}

    def has(self, path: str) -> bool:
        """Whether one of the runs may read that file."""
        return path in self._places or any(
            pattern.match(path) for folder in _above(path) for pattern in self._of(folder)
        )

    def _of(self, folder: str) -> list[re.Pattern[str]]:
        """The patterns whose first wildcard comes right below the folder."""
        if folder not in self._patterns:
            return []
        if folder not in self._compiled:
            self._compiled[folder] = [re.compile(translate(one)) for one in self._patterns[folder]]
        return self._compiled[folder]


def _above(path: str) -> Iterable[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path


def _real(places: set[str]) -> dict[str, str]:
    """`os.path.realpath` of many absolute paths: what they have in common is looked at once."""
    if not places:
        return {}
    inside: dict[str, list[str]] = {}
    for place in places:
        inside.setdefault(place.rpartition("/")[0], []).append(place)
    folders = {"": ""} | _real(set(inside) - {""})
    return {
        place: real
        for folder, several in inside.items()
        for place, real in _followed(folders[folder], several).items()
    }


def _followed(folder: str, places: list[str]) -> dict[str, str]:
    """What several paths of one folder are, whose own path is `folder` without links."""
    named = {place: f"{folder}/{place.rpartition('/')[2]}" for place in places}
    try:
        if len(named) < _MANY:
            links = {path for path in named.values() if os.path.islink(path)}
        else:
            with os.scandir(folder or "/") as entries:
                links = {entry.path for entry in entries if entry.is_symlink()}
    except FileNotFoundError:
        links = set()
    except OSError:
        links = set(named.values())  # each is then asked for itself
    return {place: os.path.realpath(path) if path in links else path for place, path in named.items()}
