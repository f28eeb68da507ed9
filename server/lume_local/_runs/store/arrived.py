"""Values for arrived files: each content of each path once, and unsettled refusals and moves."""

import hashlib
from typing import NamedTuple

from attrs import frozen

from lume_async.models import RunStatus


@frozen
class Arrived:
    """One version of an arrived file.

    Attributes:
        seen: `Entry.seen` when it arrived.
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
    """Return a path of an arrival as 16 bytes: a million of them are stored permanently."""
    return hashlib.blake2b(f"{arrival}\0{path}".encode(), digest_size=16).digest()


def mark_of(seen: str) -> bytes:
    """Return a digest, in 8 bytes, of everything known of a file without reading it."""
    return hashlib.blake2b(seen.encode(), digest_size=8).digest()


class KnownPath(NamedTuple):
    """The record of a path.

    Attributes:
        has_content: whether this content of it was submitted.
        run_id: the run that read this content, or else the latest run of any of its contents; None if it is no longer
            known.
        is_purged: whether that run existed but is no longer known; nor is its end, unless its source is taken
            (`Duplicate`).
    """

    has_content: bool
    run_id: str | None
    status: str | None
    is_purged: bool = False


class RefusedFile(NamedTuple):
    """A file without a run, and why it was refused."""

    arrival: str
    path: str
    seen: str
    why: str
    at: str


class Move(NamedTuple):
    """A file to be moved if its run has ended with output."""

    arrival: str
    path: str
    seen: str
    run_seq: int
    status: str

    @property
    def is_due(self) -> bool:
        """Whether its run has output. Otherwise the file stays, for another run of it."""
        return RunStatus(self.status).has_output
