"""Which files of a source are cut into shards, how many of each, and why others are not."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import field, frozen

from lume_local._shards.access import fetch_range, local_path
from lume_local._worker.sources.files import is_utf8_name, opened
from lume_local._worker.sources.formats.csv import header_of
from lume_local._worker.sources.formats.dialect import Dialect
from lume_local._worker.sources.formats.resent import BEGINNING, delim_of_rejects
from lume_local._worker.sources.places.held import Held, changed
from lume_local._worker.sources.places.unpack import compression_of
from lume_local._worker.sources.source import Single, SourceError

_HEAD = 1024 * 1024 + 1
"""Bytes in which a header must end."""
_MOST_PIECES = 100_000


@frozen
class Plan:
    """What becomes of one file.

    Attributes:
        single: the file.
        why: why it is one shard; empty where it is cut.
        head: what comes before the first record.
        pieces: from where to where each piece goes that is about as large as a shard should be.
    """

    single: Single
    why: str = ""
    head: bytes = field(default=b"", repr=False)
    pieces: tuple[tuple[int, int], ...] = ()


def planned(
    singles: Sequence[Single], flow: dict[str, Any], engine: dict[str, Any], folder: Path
) -> list[Plan]:
    """A plan for each file. Raises `SourceError` where an object can't be read."""
    size: int = engine["shard_bytes"]
    if engine.get("shards"):
        size = max(1, -(-sum(one.bytes for one in singles) // engine["shards"]))
    return [_plan(single, flow, size, folder / f"head{n}") for n, single in enumerate(singles)]


def _plan(single: Single, flow: dict[str, Any], size: int, copy: Path) -> Plan:
    with closing(Held()) as held:
        here = _held(single, held, copy)
        why, head = next(_reasons(single, here, flow, size), ""), b""
        if not why:
            why, head = _begins(here or fetch_range(single, 0, min(_HEAD, single.bytes), copy), single, flow)
    if why:
        return Plan(single, why)
    start = len(head)
    count = min(-(-(single.bytes - start) // size), _MOST_PIECES)
    if count < 2:
        return Plan(single, _SMALL)
    bounds = [start + n * (single.bytes - start) // count for n in range(count + 1)]
    return Plan(single, "", head, tuple(pairwise(bounds)))


def _held(single: Single, held: Held, copy: Path) -> Path | None:
    """Where to read the beginning of a file that is here."""
    if (path := local_path(single)) is None:
        return None
    handle, found = opened(path)
    here = held.hold(handle, path, copy, _HEAD)
    if found.tag != single.tag:
        raise changed(single.shown)
    return here


def _begins(path: Path, single: Single, flow: dict[str, Any]) -> tuple[str, bytes]:
    """Why the file is not cut, by what it begins with, and what comes before its first record."""
    if flow["format"] != "csv":
        with path.open("rb") as file:
            return ("it holds rejects in CSV" if delim_of_rejects(file.read(BEGINNING)) else ""), b""
    try:
        _, line_end, end = header_of(path, Dialect.of(flow["csv"]), flow, single.shown)
    except SourceError:
        return "its header can't be read", b""  # whoever reads it all says so
    if line_end == b"\r":
        return r"its lines end with \r", b""
    with path.open("rb") as file:
        return "", file.read(end)


_SMALL = "it is not larger than a shard"


def _reasons(single: Single, path: Path | None, flow: dict[str, Any], size: int) -> Iterator[str]:
    if flow["format"] not in ("csv", "ndjson"):
        yield f"a file of the format {flow['format']} is not cut"
    elif packed := compression_of(local_path(single) or Path(single.shown), flow["compression"], path):
        yield f"it is compressed ({packed})"
    elif not is_utf8_name(flow["encoding"]):
        yield f"its encoding is {flow['encoding']}, and only UTF-8 is cut"
    elif flow["format"] == "csv" and len(flow["csv"]["quote"].encode()) > 1:
        yield f"its quote {flow['csv']['quote']} is more than one byte"
    elif single.bytes <= size:
        yield _SMALL
