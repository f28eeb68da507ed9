"""What the state keeps of files that arrive: each content of each path once, and what has not been settled yet."""

import hashlib
from collections.abc import Collection, Sequence
from typing import Protocol

from attrs import frozen


@frozen
class Arrived:
    """A content of a file that arrived.

    Attributes:
        arrival: its name.
        path: of the file.
        seen: of the `Entry`.
        content: identifies the content.
        move: whether the file is to be moved once a run has ended with output.
    """

    arrival: str
    path: str
    seen: str
    content: bytes
    move: bool = False

    @property
    def place(self) -> bytes:
        return place_of(self.arrival, self.path)

    @property
    def mark(self) -> bytes:
        return mark_of(self.seen)

    @property
    def digest(self) -> bytes:
        return hashlib.blake2b(self.content, digest_size=16).digest()


def place_of(arrival: str, path: str) -> bytes:
    """A path of an arrival, in 16 bytes: a million of them are known for good."""
    return hashlib.blake2b(f"{arrival}\0{path}".encode(), digest_size=16).digest()


def mark_of(seen: str) -> bytes:
    """What can be told of a file without reading it, in 8 bytes."""
    return hashlib.blake2b(seen.encode(), digest_size=8).digest()


@frozen
class KnownPath:
    """What is known of a path.

    Attributes:
        has_content: whether this content of it was submitted.
        run_id: of the latest run of any of its contents; None if none is known any more.
        status: of that run.
        is_purged: whether there was such a run, which is not known any more; nor is then how it ended, unless its
            source is taken (`Duplicate`).
    """

    has_content: bool
    run_id: str | None
    status: str | None
    is_purged: bool = False


@frozen
class RefusedFile:
    """A file that no run was made of, and why."""

    arrival: str
    path: str
    seen: str
    why: str
    at: str


@frozen
class Move:
    """A file that is to be moved, if its run has ended with output."""

    arrival: str
    path: str
    seen: str
    run_seq: int
    status: str


class ArrivedFiles(Protocol):
    """The files that arrived. A run and its file are noted in one transaction (`NewRun.arrived`)."""

    async def settled_of(self, arrival: str, files: Sequence[tuple[str, str]]) -> list[bool]:
        """For each path and `seen`: whether it was submitted or refused as it is."""
        ...

    async def known(self, arrived: Arrived) -> KnownPath | None:
        """What is known of the path; None if nothing of it was ever submitted."""
        ...

    async def note(self, arrived: Arrived, run_id: str | None) -> None:
        """A content needs no run of its own: this one has read it, or None has."""
        ...

    async def refuse(self, refusal: RefusedFile, notice: bytes | None = None) -> bool:
        """Note a refusal, until the file is another one; whether it is new. If so, the notice is added, too."""
        ...

    async def refused(self, arrival: str, limit: int) -> list[RefusedFile]:
        """The refusals, newest first."""
        ...

    async def forget_refusals(self, arrival: str, paths: Collection[str] | None = None) -> None:
        """Decide anew about these files, or about all of the arrival."""
        ...

    async def counts(self, arrival: str) -> tuple[int, int]:
        """How many contents were submitted or are known otherwise, and how many files are refused."""
        ...

    async def moves(self, arrival: str, run_id: str | None = None) -> list[Move]:
        """The files to be moved or left, now that their run has ended; of one run or of all."""
        ...

    async def moved(self, move: Move) -> None:
        """It has been moved, or stays where it is."""
        ...
