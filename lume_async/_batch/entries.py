"""A journal's entries as bytes. Pure.

    checksum of the rest, the item and the kind: 4 bytes | content

    SENDING    deflated: JSON [idempotency key, when, whether by the server's clock], a line end, the request as JSON
    UNSENT     the reason, as text
    SUBMITTED  JSON [the run's id, whether it existed before]
    ENDED      deflated: the run as JSON, as the server described it
    REFUSED    deflated: the error as JSON
    INPUT      JSON: how many items the input has

An outcome is deflated with the item's entries since the newest SENDING as its context: it repeats much of them.
"""

import json
import zlib
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any, TypeAlias

import orjson
from attrs import define

from lume_async._base.deflate import deflated, inflated
from lume_async.models import RunRequest


class Kind(IntEnum):
    """What an entry says of its item; the numbers are in the files."""

    INPUT = 0
    SENDING = 1
    UNSENT = 2
    SUBMITTED = 3
    ENDED = 4
    REFUSED = 5


Row: TypeAlias = tuple[int, bytes]
"""An entry as the file holds it: its kind and its bytes."""


class DamagedError(Exception):
    """An entry is not what was written."""


@define
class Entry:
    """What the journal knows of one item.

    Attributes:
        key: the idempotency key of every attempt; another one where a failed run was tried again.
        at: when it was first sent under this key, in seconds since the epoch.
        by_server: whether that is by the server's clock; else by the one of the machine that sent it.
        request: what it was sent with, as `canonical` has it.
        state: the kind of the newest entry.
        run_id: the run that it was submitted as, where that is known.
        reused: whether that run existed before.
        body: what the newest entry says, where it is an outcome: the run, or the error.
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
    """The bytes of an entry; for an outcome, `before` is the content of the entries since the newest SENDING."""
    return _sealed(item, kind, deflated(content, before) if kind in _DEFLATED else content)


def intact(item: int, row: Row) -> bytes:
    """What follows the checksum of an entry.

    Raises:
        DamagedError: it is not as it was written.
    """
    kind, data = row
    try:
        content = data[4:]
        if data == _sealed(item, kind, content):
            return content
    except TypeError:  # where SQLite found something else than numbers and bytes
        pass
    raise DamagedError


def decode(item: int, rows: Iterable[Row]) -> Iterator[tuple[Kind, bytes]]:
    """The kind and the content of all entries of an item.

    Raises:
        DamagedError: one is not as it was written.
    """
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
    """The item is about to be sent; `request` is as `canonical` has it."""
    return orjson.dumps([key, at, by_server]) + b"\n" + request


def submitted(run_id: str, *, reused: bool) -> bytes:
    """The item's run is known."""
    return orjson.dumps([run_id, reused])


def value_of(content: bytes) -> Any:
    """What an entry that is JSON alone says."""
    return orjson.loads(content)


def json_of(value: Any) -> bytes:
    """The value as JSON."""
    try:
        return orjson.dumps(value)
    except TypeError:  # deeper than orjson writes, though not deeper than it reads
        return json.dumps(value, separators=(",", ":")).encode()


def canonical(request: RunRequest) -> bytes:
    """The request, the same bytes for equal ones; what has its default is left out."""
    said: dict[str, Any] = {"flow_version": request.flow_version, "source_path": request.source_path}
    # One by one, as every item that is begun again is compared: a loop over the fields takes three times as long.
    if request.run_metadata is not None:
        said["run_metadata"] = request.run_metadata
    if request.force_rerun:
        said["force_rerun"] = True
    if request.idempotency_key is not None:
        said["idempotency_key"] = request.idempotency_key
    if request.webhook_url is not None:
        said["webhook_url"] = request.webhook_url
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def request_of(canonical: bytes) -> RunRequest:
    """The request that was encoded."""
    return RunRequest(**orjson.loads(canonical))


def read(item: int, rows: Iterable[Row]) -> Entry | None:
    """What all entries of an item mean.

    Raises:
        DamagedError: one is not as it was written.
    """
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
