"""The interface of a source to the engine. A new kind is one file in `places`, and a line in `source_kinds`.

A kind provides its content on this machine as files, each in a format that `read` knows: CSV and NDJSON
as they are, or `rows` for values that are texts or NULL already, such as those of a query.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from lume_local._flow.patterns import MOST_FILES
from lume_local._shared.identity import SourceContent
from lume_local._shared.obstacle import Obstacle

Pause = Callable[[], None]
"""Called every few megabytes, and between requests; raises if the run is to stop."""


def no_pause() -> None:
    """A pause that never stops a run."""


class SourceError(Obstacle):
    """The source can't be read as the flow expects. The message says what was expected, found, and to do."""


@frozen
class File:
    """A file on this machine that holds rows.

    Attributes:
        path: the source itself, which is only read, or a copy in the run's folder.
        shown: what messages and the column `_lume_file` call it.
        format: how it is read: one of `read.FORMATS`.
        bytes: of the source that it is made from.
        is_beginning: of the source; a BOM elsewhere belongs to its line.
        is_end: of the source; a footer elsewhere does not end anything.
        is_unpacked: whether it is what was in a compressed one.
    """

    path: Path
    shown: str
    format: str
    bytes: int
    is_beginning: bool = True
    is_unpacked: bool = False
    is_end: bool = True


@frozen
class Single:
    """One file of a source as a source of its own.

    Attributes:
        place: as `Source` takes it.
        shown: what messages and the column `_lume_file` call it.
        tag: what else identifies its content, if anything does.
    """

    place: dict[str, Any]
    shown: str
    bytes: int
    tag: str = ""


def place_to_read(file: Mapping[str, Any]) -> Path:
    """Where a file of a job is read: at `at`, where the server holds it, or at its own path."""
    return Path(file.get("at", file["path"]))


def check_number(files: int, what: str = "files") -> None:
    """Refuse a source of more files than a run reads. Raises `SourceError`."""
    if files > MOST_FILES:
        raise SourceError(f"the source has {files:,} {what}, but a run reads at most {MOST_FILES:,}")


class Source(Protocol):
    """Where the rows of a run come from. The engine calls the methods in this order.

    The account of a run compares what is in the files with what was mapped and rejected; that the files hold all
    that the source has is the kind's own affair: it counts, or compares sizes, and raises `SourceError`.

    Attributes:
        places: what no target may take the place of (see `Target.place`).
    """

    places: list[str]

    def __init__(self, place: dict[str, Any], flow: dict[str, Any]) -> None:
        """`place` is JSON, which the server derives from the flow and the request; `flow` is the compiled one."""
        ...

    def check(self, pause: Pause = no_pause) -> None:
        """Find mistakes before anything is read. Raises `SourceError`."""
        ...

    def content(
        self, known: SourceContent | None, most: int, pause: Pause = no_pause
    ) -> SourceContent | None:
        """After `check`: what identifies it; None if unknown. Raises `SourceError`.

        The digest is computed up to `most` bytes, unless it adds nothing to `known`.
        """
        ...

    def each(self) -> list[Single]:
        """After `check`: every file by itself, in the order of the rows; empty if it can only be read as a whole."""
        ...

    def fetch(self, folder: Path, pause: Pause) -> list[File]:
        """Provide its files, copies below `folder`, in the order of the rows. Raises `SourceError`.

        Afterwards the database can read these files and nothing else.
        """
        ...

    def check_unchanged(self, pause: Pause = no_pause) -> None:
        """After all was read: raise `SourceError` if it has changed meanwhile."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...
