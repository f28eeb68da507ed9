"""What a source is to the engine. A new kind is one file beside this one, and a line in `kinds`.

A kind brings what it has to this machine as files, each in a format that `read` knows: CSV and NDJSON as somebody
wrote them, or `rows` for values that are texts or NULL already, such as those of a query.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from lume_local._shared.content import Content

Pause = Callable[[], None]
"""Called every few megabytes, and between requests; raises where the run is to stop."""


def go_on() -> None:
    """What is called where nothing stops a run."""


class SourceError(Exception):
    """The source can't be read as the flow expects. The message says what was expected, found, and to do."""


@frozen
class File:
    """A file on this machine that holds rows.

    Attributes:
        path: where it is: the source itself, which is only read, or a copy in the run's folder.
        shown: what messages and the column `_lume_file` call it.
        format: how it is read: one of `read.FORMATS`.
        bytes: of the source that it is made from.
        is_beginning: of the source; a BOM elsewhere belongs to its line.
        is_unpacked: whether it is what was in a compressed one.
    """

    path: Path
    shown: str
    format: str
    bytes: int
    is_beginning: bool = True
    is_unpacked: bool = False


@frozen
class Single:
    """One file of a source as a source of its own.

    Attributes:
        place: as `Source` takes it.
        shown: what messages and the column `_lume_file` call it.
        bytes: of it.
        tag: what else identifies its content, if anything does.
    """

    place: dict[str, Any]
    shown: str
    bytes: int
    tag: str = ""


class Source(Protocol):
    """Where the rows of a run come from. The engine calls the methods in this order.

    The account of a run compares what is in the files with what was mapped and rejected; that the files hold all
    that the source has is the kind's own affair: it counts, or compares sizes, and raises `SourceError`.

    Attributes:
        places: what no target may take the place of (see `Target.place`).
    """

    places: list[str]

    def __init__(self, place: dict[str, Any], flow: dict[str, Any]) -> None:
        """`place` is JSON, made by the server from the flow and the request; `flow` is the compiled one."""

    def check(self, pause: Pause = go_on) -> None:
        """Find whatever can be found to be wrong before anything is read. Raises `SourceError`."""

    def content(self, known: Content | None, most: int, pause: Pause = go_on) -> Content | None:
        """After `check`: what identifies it; None where nobody can tell. Raises `SourceError`.

        The digest is made up to `most` bytes, and not where it says nothing beyond `known`.
        """
        ...

    def each(self) -> list[Single]:
        """After `check`: every file by itself, in the order of the rows; none where it is read as a whole only."""
        ...

    def fetch(self, folder: Path, pause: Pause) -> list[File]:
        """Bring it here, below `folder` where a copy is needed, in the order of the rows. Raises `SourceError`.

        Afterwards the database can read these files and nothing else.
        """
        ...

    def check_unchanged(self, pause: Pause = go_on) -> None:
        """After all was read: raise `SourceError` where somebody has written to it meanwhile."""

    def close(self) -> None:
        """Nobody reads the files any more."""
