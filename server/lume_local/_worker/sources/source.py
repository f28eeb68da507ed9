"""The interface between a source and the engine. A new kind is one file in `places`, and a line in `source_kinds`.

A kind provides its content on this machine as files, each in a format that `read` knows: CSV and NDJSON as they are,
or `rows` for values that are already strings or NULL, as from a query.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from lume_local._flow.patterns import MOST_FILES
from lume_local._shared.failing import Obstacle
from lume_local._shared.identity import SourceContent

Pause = Callable[[], None]
"""Called every few megabytes, and between requests; raises if the run is to stop."""


def no_pause() -> None:
    """Do nothing: a pause that never stops a run."""


class SourceError(Obstacle):
    """The source can't be read as the flow expects; the message says what was expected and found, and what to do."""

    @classmethod
    def plain(cls, message: str) -> "SourceError":
        """Return an error whose message has nothing that the source contains."""
        return cls(message, told=message)


@frozen
class File:
    """A file on this machine that holds rows.

    Attributes:
        path: the source itself, which is only read, or a copy in the run's folder.
        shown: its name in messages and in the column `_lume_file`.
        format: how it is read: as in a flow, or `rows`.
        bytes: the size of the source that it is made from.
        is_beginning: whether the source begins with it; a BOM elsewhere belongs to its line.
        is_end: whether the source ends with it; a footer elsewhere ends nothing.
        is_unpacked: whether it was unpacked from a compressed file.
        paths: its path below the server's root, or its URL; also that of its archive.
        layout: the layout that it is read by; empty for a version without layouts.
    """

    path: Path
    shown: str
    format: str
    bytes: int
    is_beginning: bool = True
    is_unpacked: bool = False
    is_end: bool = True
    paths: tuple[str, ...] = ()
    layout: str = ""


@frozen
class Single:
    """One file of a source as a source of its own.

    Attributes:
        place: as for `Source`.
        shown: its name in messages and in the column `_lume_file`.
        tag: a further identification of its content, if there is one.
    """

    place: dict[str, Any]
    shown: str
    bytes: int
    tag: str = ""


def place_to_read(file: Mapping[str, Any]) -> Path:
    """Return where a file of a job is read: at `at`, where the server holds it, or at its own path."""
    return Path(file.get("at", file["path"]))


def check_number(files: int, what: str = "files") -> None:
    """Refuse a source of more files than a run reads. Raises `SourceError`."""
    if files > MOST_FILES:
        raise SourceError(f"the source has {files:,} {what}, but a run reads at most {MOST_FILES:,}")


class Source(Protocol):
    """The origin of a run's rows. The engine calls the methods in this order.

    The account of a run compares the files' contents with the mapped and rejected rows. Each kind itself ensures that
    the files hold the whole source: it counts, or compares sizes, and raises `SourceError`.

    Attributes:
        places: the places that no target may take (see `Target.place`).
    """

    places: list[str]

    def __init__(self, place: dict[str, Any], flow: dict[str, Any]) -> None:
        """`place` is JSON, which the server derives from the flow and the request; `flow` is the compiled one."""

    def check(self, pause: Pause = no_pause) -> None:
        """Find mistakes before anything is read. Raises `SourceError`."""

    def content(
        self, known: SourceContent | None, most: int, pause: Pause = no_pause
    ) -> SourceContent | None:
        """Return what identifies the content, after `check`; None if unknown. Raises `SourceError`.

        The digest is computed up to `most` bytes, unless it adds nothing to `known`.
        """
        ...

    def each(self) -> list[Single]:
        """Return every single file, in the order of the rows, after `check`; empty if only the whole can be read."""
        ...

    def fetch(self, folder: Path, pause: Pause) -> list[File]:
        """Provide its files, copies below `folder`, in the order of the rows. Raises `SourceError`.

        Afterwards the database can read these files and nothing else.
        """
        ...

    def check_unchanged(self, pause: Pause = no_pause) -> None:
        """Raise `SourceError` if the source has changed while it was read."""

    def close(self) -> None:
        """Release the files."""
