"""Moves a processed file so that a kill at any step loses nothing, and nothing is overwritten.

First, a rename gives the file a name of its own in the new folder in one step, so that it can be checked undisturbed.
Then it gets its final name, or a similar one if that is taken. An interrupted move is found by the own name.
"""

import posixpath
from collections.abc import Iterator
from typing import Protocol

from lume_local._shared.identity import hash_of

LONGEST = 255
"""The maximum length of a name in bytes, in common file systems."""


class Moves(Protocol):
    """The steps of a move in a place, by paths there. A place has its own errors."""

    async def seen(self, path: str) -> str | None:
        """Return the version of a file, which a rename keeps; None if there is no file."""
        ...

    async def take(self, path: str, own: str) -> bool:
        """Rename a file into a folder, which is created if it is missing; return False if the file is gone."""
        ...

    async def name(self, own: str, path: str) -> bool:
        """Rename a file; return False, without a change, if the name is taken."""
        ...

    async def remove(self, own: str) -> None: ...


async def put_aside(moves: Moves, path: str, target: str, seen: str, key: tuple[str, str]) -> str | None:
    """Move a file if it still is the version `seen`; return its name in the target's folder.

    None if it is gone or has been replaced; a replacement stays.

    Args:
        key: identifies this move among all into the folder, even after a kill.
    """
    own = posixpath.join(posixpath.dirname(target), f".{hash_of(key)[:32]}.lume")
    if await moves.seen(own) is None and (await moves.seen(path) != seen or not await moves.take(path, own)):
        return None
    if await moves.seen(own) != seen:  # replaced between the two steps above
        if not await moves.name(own, path):
            await moves.remove(own)  # replaced again: the file taken is no longer the latest
        return None
    number = 1
    while not await moves.name(own, name := numbered(target, number)):
        number += 1
    return posixpath.basename(name)


def numbered(path: str, number: int) -> str:
    """Return `a-2.csv.gz` for `a.csv.gz`, and so on, with a shorter stem if necessary; 1 returns the path itself."""
    if number == 1:
        return path
    folder, slash, name = path.rpartition("/")
    parted = ((stem, f"-{number}{suffixes}") for stem, suffixes in _parted(name))
    stem, rest = next((stem, rest) for stem, rest in parted if len(rest.encode()) < LONGEST)
    stem = stem.encode()[: LONGEST - len(rest.encode())].decode(errors="ignore")
    return f"{folder}{slash}{stem}{rest}"


def _parted(name: str) -> Iterator[tuple[str, str]]:
    """Yield the stem and what follows it: all suffixes, only the last, none, until a stem has room."""
    stem, dot, suffixes = name.partition(".")
    yield stem, f"{dot}{suffixes}"
    stem, dot, suffix = name.rpartition(".")
    yield stem, f"{dot}{suffix}"
    yield name, ""
