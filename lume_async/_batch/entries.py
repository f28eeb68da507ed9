"""The binary form of a journal's entries. Pure.

Four bytes check an entry, its item, its kind, and all text that is needed to inflate it. They come last in SENDING,
SUBMITTED, ENDED and REFUSED, where that is faster to check: a resumed batch does it for every item. In others they
come first.

    SENDING    flags, time (float64), key (16 bytes), the request deflated; another key is a line before the request
    UNSENT     the reason, as text
    SUBMITTED  flags, the run ID: 16 bytes, or text
    ENDED      flags and the status, the run as JSON deflated, as the server returned it
    REFUSED    the same, with the error
    INPUT      JSON: how many items the input has
    SAMPLE     the topic, the text deflated

Requests resemble each other, and so do runs with the same status. So a journal keeps the first of each topic as a
sample, from which the entries after it are inflated. An outcome also repeats its item's request and run ID. Without a
sample, the text of the contract stands in.

In form 1 of journals, those four kinds had other numbers and were JSON, behind their four bytes: see `read`.
"""

import json
import struct
import zlib
from collections.abc import Iterable
from enum import IntEnum
from typing import Any, TypeAlias

import orjson
from attrs import define, field

from lume_async._base.deflate import DICTIONARY, deflated, inflated
from lume_async._wire.endpoints import submission
from lume_async.errors import JournalError
from lume_async.models import RunRequest


class Kind(IntEnum):
    """The kind of an entry; the numbers are stored in the files, with `PACKED` added where form 1 had JSON."""

    INPUT = 0
    SENDING = 1
    UNSENT = 2
    SUBMITTED = 3
    ENDED = 4
    REFUSED = 5
    SAMPLE = 6


PACKED = 8
KIND = 7
"""The bits of a stored number that are its `Kind`."""

Row: TypeAlias = tuple[int, bytes]
"""An entry as it is stored: its kind and its bytes."""

Samples: TypeAlias = dict[int, tuple[bytes, int]]
"""The text of each topic's sample, and its checksum. The topic of a run is its status, in `_STATUSES`."""

LONGEST = 4096
"""The maximum length of a sample: with a request of the same length it fills the window of `deflate`."""

_STATUSES = ("", "SUCCEEDED", "PARTIAL_FAILED", "FAILED", "CRASHED", "CANCELLED")
_ENDS = range(1, len(_STATUSES))
REQUESTS, _ERRORS = 14, 15
_TOPIC = 15
_NO_SAMPLE = (DICTIONARY, 0)

_SAMPLED = 16
"""Flag: the entry is deflated with the sample of its topic."""
_SHORT = 32
"""Flag: the key or the run ID is 16 bytes; an outcome has the item's run ID and the topic's status."""
_MARKED = 64
"""Flag: the time of SENDING is by the server's clock; the run of SUBMITTED existed before."""

_SENDING, _SUBMITTED, _ENDED, _REFUSED = (
    kind | PACKED for kind in (Kind.SENDING, Kind.SUBMITTED, Kind.ENDED, Kind.REFUSED)
)
_OUTCOMES = (_ENDED, _REFUSED)
_HEAD = struct.Struct(">Bd")
_INTACT = 0x2144DF1C
"""The CRC-32 of anything with its own CRC-32 at the end."""
_RUN = "run_"


class DamagedError(JournalError):
    """An entry is not as it was written."""


@define
class PackedOutcome:
    """An outcome that is inflated when it is needed: most of them never are."""

    content: bytes
    context: bytes
    sample: bytes

    def value(self) -> Any:
        """Return the run or the error. Raises `DamagedError` if it was never written like this."""
        try:
            return orjson.loads(inflated(self.content, self.context, self.sample))
        except ValueError:
            raise DamagedError("an outcome in the journal is damaged: it can't be decoded") from None


def _loaded(body: Any) -> Any:
    return body.value() if isinstance(body, PackedOutcome) else body


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
        status: the status of the run `run_id`, if `stored` is that run.
    """

    key: str
    at: float
    by_server: bool
    request: bytes
    state: Kind = Kind.SENDING
    run_id: str | None = None
    reused: bool = False
    stored: Any = field(default=None, alias="body", eq=_loaded)
    """The run or the error, if the newest entry is an outcome; `PackedOutcome`, or its value."""
    status: str | None = field(default=None, eq=False)

    @property
    def body(self) -> Any:
        """The run or the error, if the newest entry is an outcome. Raises as `PackedOutcome.value` does."""
        return _loaded(self.stored)


def plain(item: int, kind: Kind, content: bytes) -> Row:
    """Encode INPUT or UNSENT."""
    return kind, _sealed(item, kind, content)


def sending(item: int, request: bytes, key: str, at: float, *, by_server: bool, samples: Samples) -> Row:
    """Encode SENDING; `request` is encoded by `canonical`."""
    flags, (sample, crc) = _sampled(samples, REQUESTS)
    flags |= _MARKED * by_server
    if (short := _short(key)) is not None:
        flags |= _SHORT
    else:
        short, request = b"", key.encode() + b"\n" + request
    content = struct.pack(">Bd", flags, at) + short + deflated(request, b"", sample)
    return _packed(item, _SENDING, content, crc)


def submitted(item: int, run_id: str, *, reused: bool) -> Row:
    """Encode SUBMITTED."""
    flags, short = _MARKED * reused, None
    if run_id.startswith(_RUN) and (short := _short(run_id.removeprefix(_RUN))) is not None:
        flags |= _SHORT
    content = bytes([flags]) + (run_id.encode() if short is None else short)
    return _packed(item, _SUBMITTED, content)


def outcome(
    item: int, kind: Kind, value: dict[str, Any], text: bytes, entry: Entry | None, samples: Samples
) -> Row:
    """Encode ENDED or REFUSED; `text` is the value as JSON, `entry` combines the item's entries before it."""
    topic = topic_of(kind, value)
    flags, (sample, crc) = _sampled(samples, topic)
    if topic in _ENDS and entry is not None and entry.run_id == value.get("id"):
        flags |= _SHORT
    context = b"" if entry is None else _context(entry)
    content = bytes([topic | flags]) + deflated(text, context, sample)
    return _packed(item, kind | PACKED, content, zlib.crc32(context, crc))


def new_sample(item: int, topic: int, text: bytes) -> Row:
    """Encode SAMPLE."""
    return Kind.SAMPLE, _sealed(item, Kind.SAMPLE, bytes([topic]) + deflated(text, b""))


def topic_of(kind: Kind, value: dict[str, Any]) -> int:
    """Return the topic of an outcome; 0 for a status without one."""
    if kind is Kind.REFUSED:
        return _ERRORS
    status = value.get("status")
    return _STATUSES.index(status) if status in _STATUSES else 0


def intact(item: int, row: Row) -> bytes:
    """Return the content of INPUT, UNSENT, SAMPLE, or of an entry of form 1, after its checksum.

    Raises `DamagedError` if the checksum does not match.
    """
    kind, data = row
    try:
        content = data[4:]
        if data == _sealed(item, kind, content):
            return content
    except TypeError:  # SQLite returned other types than numbers and bytes
        pass
    raise DamagedError


def read_input(item: int, rows: Iterable[Row]) -> tuple[int | None, Samples]:
    """Return the number of items, if known, and the samples. Raises `DamagedError` if an entry is damaged."""
    count: int | None = None
    samples: Samples = {}
    for row in rows:
        content = intact(item, row)
        try:
            if row[0] == Kind.SAMPLE:
                text = inflated(content[1:], b"")
                samples[content[0]] = text, zlib.crc32(text)
            else:
                count = orjson.loads(content)
        except (ValueError, IndexError):
            raise DamagedError from None
    return count, samples


def run_of(item: int, row: Row) -> tuple[str, bool]:
    """Return the run ID of SUBMITTED, and whether the run existed before. Raises `DamagedError`."""
    kind, data = row
    try:
        if kind & PACKED:
            _check(item, kind, data)
            flags, short = data[0], data[1:-4]
            return _RUN + short.hex() if flags & _SHORT else short.decode(), flags & _MARKED != 0
        run_id, reused = orjson.loads(intact(item, row))
    except (ValueError, TypeError, IndexError):
        raise DamagedError from None
    return run_id, reused


def read(item: int, rows: Iterable[Row], samples: Samples) -> Entry | None:
    """Combine all entries of an item. Raises `DamagedError` if an entry is damaged."""
    entry: Entry | None = None
    before = b""  # in form 1, the text of the entries since the newest SENDING
    for row in rows:
        kind = row[0]
        try:
            if kind == _SENDING:
                entry, before = _read_sending(item, row[1], entry, samples), b""
                continue
            if kind == Kind.SENDING:
                before = inflated(intact(item, row), b"")
                head, _, request = before.partition(b"\n")
                key, at, by_server = orjson.loads(head)
                if entry is not None and entry.key == key:
                    at, by_server = entry.at, entry.by_server
                entry = Entry(key, at, by_server, request)
                continue
            if entry is None:
                raise DamagedError
            entry.stored = entry.status = None
            if kind in _OUTCOMES:
                _read_outcome(item, row, entry, samples)
            elif kind == _SUBMITTED:
                entry.run_id, entry.reused = run_of(item, row)
            elif kind == Kind.SUBMITTED:
                entry.run_id, entry.reused = run_of(item, row)
                before += row[1][4:]
            elif kind == Kind.UNSENT:
                before += intact(item, row)
            elif kind in (Kind.ENDED, Kind.REFUSED):
                text = inflated(intact(item, row), before)
                before += text
                entry.stored = orjson.loads(text)
            else:
                raise DamagedError
            entry.state = _KINDS[kind & KIND]
        except (ValueError, TypeError, IndexError, KeyError, struct.error):
            raise DamagedError from None
    return entry


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


def _read_sending(item: int, data: bytes, before: Entry | None, samples: Samples) -> Entry:
    flags, at = _HEAD.unpack_from(data)
    sample, crc = samples[REQUESTS] if flags & _SAMPLED else _NO_SAMPLE
    _check(item, _SENDING, data, crc)
    if flags & _SHORT:
        key, request = data[9:25].hex(), inflated(data[25:-4], b"", sample)
    else:
        line, _, request = inflated(data[9:-4], b"", sample).partition(b"\n")
        key = line.decode()
    by_server = flags & _MARKED != 0
    if before is not None and before.key == key:
        at, by_server = before.at, before.by_server
    return Entry(key, at, by_server, request)


def _read_outcome(item: int, row: Row, entry: Entry, samples: Samples) -> None:
    kind, data = row
    flags = data[0]
    sample, crc = samples[flags & _TOPIC] if flags & _SAMPLED else _NO_SAMPLE
    context = _context(entry)
    _check(item, kind, data, zlib.crc32(context, crc))
    entry.stored = PackedOutcome(data[1:-4], context, sample)
    if flags & _SHORT:
        entry.status = _STATUSES[flags & _TOPIC]
    else:
        entry.stored = entry.stored.value()


def _context(entry: Entry) -> bytes:
    return entry.request if entry.run_id is None else entry.request + entry.run_id.encode()


def _sampled(samples: Samples, topic: int) -> tuple[int, tuple[bytes, int]]:
    found = samples.get(topic)
    return (0, _NO_SAMPLE) if found is None else (_SAMPLED, found)


def _short(text: str) -> bytes | None:
    """Return 32 hexadecimal digits as 16 bytes; None if the text is something else."""
    if len(text) != 32:
        return None
    try:
        short = bytes.fromhex(text)
    except ValueError:
        return None
    return short if short.hex() == text else None


def _check(item: int, kind: int, data: bytes, context: int = 0) -> None:
    """Raise `DamagedError` if an entry is not as `_packed` returned it."""
    if zlib.crc32(data, context ^ (item << 4 | kind)) != _INTACT:
        raise DamagedError


def _packed(item: int, kind: int, content: bytes, context: int = 0) -> Row:
    """Return the entry with its checksum, which differs between items, and between kinds of an item."""
    crc = zlib.crc32(content, (context ^ (item << 4 | kind)) & 0xFFFFFFFF)
    return kind, content + crc.to_bytes(4, "little")


def _sealed(item: int, kind: int, content: bytes) -> bytes:
    """Return the content behind such a checksum, as all kinds had it in form 1."""
    return zlib.crc32(content, (item << 3 | kind) & 0xFFFFFFFF).to_bytes(4) + content


_KINDS = tuple(Kind)
