"""Values for arrived files: each content of each path once, and unsettled refusals and moves."""

import hashlib
from typing import NamedTuple

import orjson
from attrs import frozen

from lume_async.models import RunStatus


@frozen
class Arrived:
    """One version of an arrived file.

    Attributes:
        seen: `Entry.seen` when it arrived.
        content: identifies the content.
        move: whether the file is to be followed until a run of it has ended with output: moved, or run again.
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
    is_aside: bool = False
    """Whether the file with this content was in the folder for failed files, so that a person has put it back."""


class RefusedFile(NamedTuple):
    """A file without a run, and why it was refused. See `aside_of` for its `seen`."""

    arrival: str
    path: str
    seen: str
    why: str
    at: str


ASIDE = "at "
"""The beginning of `seen` for a file that was put aside, into the folder for failed files; its path there follows."""


def aside_of(seen: str) -> str:
    """Return the path of a file that was put aside; empty for one in its place, whose version `seen` is."""
    return seen.removeprefix(ASIDE) if seen.startswith(ASIDE) else ""


class Move(NamedTuple):
    """A file to be moved since its run has ended. See `aside_of` for its `seen`."""

    arrival: str
    path: str
    seen: str
    run_seq: int
    status: str
    run_id: str = ""
    source_path: str = ""
    source_key: str = ""
    force_rerun: bool = False
    run_metadata: str = "null"
    submitted_by: str | None = None

    @property
    def retries(self) -> int:
        """How often the server has repeated its run; a person's run begins anew, as its metadata may be a copy."""
        is_ours = self.submitted_by == f"arrival:{self.arrival}"
        return orjson.loads(self.run_metadata).get("retry", 0) if is_ours else 0

    @property
    def is_due(self) -> bool:
        """Whether its run has output. Otherwise the file stays, for another run of it."""
        return RunStatus(self.status).has_output
