"""The binary form of a journal's entries. Pure.

    checksum of the rest, the item and the kind: 4 bytes | content

    SENDING    deflated: JSON [idempotency key, time, whether by the server's clock], a newline, the request as JSON
    UNSENT     the reason, as text
    SUBMITTED  JSON [the run ID, whether the run existed before]
    ENDED      deflated: the run as JSON, as the server returned it
    REFUSED    deflated: the error as JSON
    INPUT      JSON: how many items the input has

The preset dictionary of an outcome is the item's entries since the newest SENDING, since it repeats most of them.
"""

import json
import zlib
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any, TypeAlias

import orjson
from attrs import define

from lume_async._base.deflate import deflated, inflated
from lume_async._wire.endpoints import submission
from lume_async.models import RunRequest


class Kind(IntEnum):
    """The kind of an entry; the numbers are stored in the files."""

    INPUT = 0
    SENDING = 1
    UNSENT = 2
    SUBMITTED = 3
    ENDED = 4
    REFUSED = 5


Row: TypeAlias = tuple[int, bytes]
"""An entry as it is stored: its kind and its bytes."""


class DamagedError(Exception):
    """An entry is not as it was written."""


@define
class Entry:
    """The journal's knowledge of one item.

    Attributes:
        key: the idempotency key of every attempt; a failed run that is retried gets a new one.
        at: when it was first sent with this key, in seconds since the epoch.
        by_server: whether `at` is by the server's clock; otherwise it is by the clock of the sending machine.
        request: the submitted request, as encoded by `canonical`.
        state: the kind of the newest entry.
        run_id: the ID of its run, if known.
        reused: whether that run existed before.
        body: the run or the error, if the newest entry is an outcome.
    """

    key: str
    at: float
    by_server: bool
    request: bytes
    state: Kind = Kind.SENDING
    run_id: str | None = None
    reused: bool = False
    body: Any = None


def encode(item: int, kind: int, content: bytes, before: bytes = b"") -> bytes:
    """Encode an entry; an outcome needs `before`, the content of the entries since the newest SENDING."""
    return _sealed(item, kind, deflated(content, before) if kind in _DEFLATED else content)


def intact(item: int, row: Row) -> bytes:
    """Return the content of an entry, after its checksum. Raises `DamagedError` if the checksum does not match."""
    kind, data = row
    try:
        content = data[4:]
        if data == _sealed(item, kind, content):
            return content
    except TypeError:  # SQLite returned other types than numbers and bytes
        pass
    raise DamagedError


def decode(item: int, rows: Iterable[Row]) -> Iterator[tuple[Kind, bytes]]:
    """Yield the kind and the content of all entries of an item. Raises `DamagedError` if an entry is damaged."""
    before = b""
    for row in rows:
        content = intact(item, row)
        try:
            kind = _KINDS[row[0]]
            if kind is Kind.SENDING:
                before = b""
            if kind in _DEFLATED:
                content = inflated(content, before)
        except (ValueError, IndexError):
            raise DamagedError from None
        yield kind, content
        before += content


def sending(request: bytes, key: str, at: float, *, by_server: bool) -> bytes:
    """Return the content of SENDING; `request` is encoded by `canonical`."""
    return orjson.dumps([key, at, by_server]) + b"\n" + request


def json_of(value: Any) -> bytes:
    """Return the value as JSON."""
    try:
        return orjson.dumps(value)
    except TypeError:  # nested deeper than orjson can write, but not deeper than it can read
        return json.dumps(value, separators=(",", ":")).encode()


def canonical(request: RunRequest) -> bytes:
    """Return the request as JSON, with equal bytes for equal requests; fields with their default are omitted."""
    said = submission(request)
    if not request.force_rerun:
        del said["force_rerun"]
    if request.idempotency_key is not None:
        said["idempotency_key"] = request.idempotency_key
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def request_of(canonical: bytes) -> RunRequest:
    """Decode a request that `canonical` encoded."""
    return RunRequest(**orjson.loads(canonical))


def read(item: int, rows: Iterable[Row]) -> Entry | None:
    """Combine all entries of an item. Raises `DamagedError` if an entry is damaged."""
    entry: Entry | None = None
    for kind, content in decode(item, rows):
        try:
            if kind is Kind.SENDING:
                entry = _sent(content, entry)
            elif entry is None:
                raise DamagedError
            else:
                _apply(entry, kind, content)
        except (ValueError, TypeError) as error:
            raise DamagedError from error
    return entry


def _sent(content: bytes, before: Entry | None) -> Entry:
    head, _, request = content.partition(b"\n")
    key, at, by_server = orjson.loads(head)
    entry = Entry(key, at, by_server, request)
    if before is not None and before.key == entry.key:
        entry.at, entry.by_server = before.at, before.by_server
    return entry


def _apply(entry: Entry, kind: Kind, content: bytes) -> None:
    entry.state, entry.body = kind, None
    if kind is Kind.SUBMITTED:
        entry.run_id, entry.reused = orjson.loads(content)
    elif kind in _DEFLATED:
        entry.body = orjson.loads(content)


def _sealed(item: int, kind: int, content: bytes) -> bytes:
    return zlib.crc32(content, (item << 3 | kind) & 0xFFFFFFFF).to_bytes(4) + content


_KINDS = tuple(Kind)
_DEFLATED = {Kind.SENDING, Kind.ENDED, Kind.REFUSED}
