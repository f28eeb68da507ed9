"""What the state keeps of files that arrive: each content of each path once, and what has not been settled yet."""

import hashlib

from attrs import frozen

from lume_async.models import RunStatus


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
        run_id: of the run that read this content, otherwise of the latest run of any of its contents; None if it is
            not known any more.
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

    @property
    def is_due(self) -> bool:
        """Whether its run has output. Else the file stays, for another run of it."""
        return RunStatus(self.status).has_output
