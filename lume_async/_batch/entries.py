"""A journal's entries as bytes. Pure.

    checksum of the rest, the item and the kind: 4 bytes | what the kind has

    SENDING    flags | when | digest of the request: 8 bytes | idempotency key | request, deflated
    UNSENT     why, as text
    SUBMITTED  flags | the run's id, as text
    ENDED      the run as the server described it, deflated
    REFUSED    the error, deflated
    INPUT      how many items the input has
    SAMPLE     the first request, or the first run, of the journal, deflated

What is deflated may refer to what every run says, to the journal's first request or run, and an outcome to its own
request. The first run is kept with marks in place of its ID and of what its request said: the others refer to what it
would be with theirs.
"""

import json
import struct
import zlib
from collections.abc import Iterable
from enum import IntEnum
from hashlib import blake2b
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
    SAMPLE = 6


Row: TypeAlias = tuple[int, bytes]
"""An entry as the file holds it: its kind and its bytes."""


class DamagedError(Exception):
    """An entry is not what was written."""


@define
class Samples:
    """The beginnings of the first request and the first run of a journal: those that follow are like them."""

    request: bytes = b""
    run: bytes = b""


@define
class Entry:
    """What the journal knows of one item.

    Attributes:
        key: the idempotency key of every attempt; another one where a failed run was tried again.
        at: when it was first sent under this key, in seconds since the epoch.
        by_server: whether that is by the server's clock; else by the one of the machine that sent it.
        state: the kind of the newest entry.
        run_id: the run that it was submitted as, where that is known.
        reused: whether that run existed before.
        body: what the newest entry says, where it is an outcome: the run, or the error.
    """

    key: str
    at: float
    by_server: bool
    state: Kind
    run_id: str | None = None
    reused: bool = False
    body: Any = None


def encode(item: int, kind: int, content: bytes) -> bytes:
    """The bytes of an entry."""
    return zlib.crc32(content, (item << 3 | kind) & 0xFFFFFFFF).to_bytes(4) + content


def decode(item: int, row: Row) -> tuple[Kind, bytes]:
    """The kind and the content of an entry.

    Raises:
        DamagedError: it is not as it was written.
    """
    number, data = row
    try:
        content = data[4:]
        if data == encode(item, number, content):
            return _KINDS[number], content
    except TypeError:  # where SQLite found something else than numbers and bytes
        pass
    raise DamagedError


def sending(said: bytes, key: str, at: float, samples: Samples, *, by_server: bool) -> bytes:
    """The item is about to be sent; `said` is its request."""
    packed = _hex(key)
    flags = _BY_SERVER * by_server | _HEX_KEY * (packed is not None)
    name = packed if packed is not None else bytes([len(key)]) + key.encode()
    return _SENDING.pack(flags, at, digest(said)) + name + deflated(said, samples.request)


def submitted(run_id: str, *, reused: bool) -> bytes:
    """The item's run is known."""
    packed = _hex(run_id.removeprefix(_RUN)) if run_id.startswith(_RUN) else None
    flags = _REUSED * reused | _HEX_RUN * (packed is not None)
    return bytes([flags]) + (run_id.encode() if packed is None else packed)


def ended(run: bytes, said: bytes, run_id: str | None, samples: Samples) -> bytes:
    """The item's run has ended, as JSON says; `said` and `run_id` are the request and the run of the item."""
    return deflated(run, _alike(samples.run, said, run_id) + _context(said, run_id))


def refused(error: bytes, said: bytes, run_id: str | None) -> bytes:
    """The item's submission was refused, as JSON says."""
    return deflated(error, _context(said, run_id))


def sample(content: bytes) -> bytes:
    """Part of the first request or run."""
    return deflated(content[:_SAMPLE])


def marked(run: bytes, said: bytes, run_id: str | None) -> bytes:
    """The first run, with marks in place of what is its own."""
    for mark, words in zip(_MARKS, _own(said, run_id), strict=False):
        if words:
            run = run.replace(words, mark, _MOST)
    return run


def sample_of(content: bytes) -> bytes:
    """What a SAMPLE entry holds.

    Raises:
        DamagedError: it is not as it was written.
    """
    try:
        return inflated(content, b"")
    except ValueError as error:
        raise DamagedError from error


def input_of(count: int) -> bytes:
    """The input has so many items."""
    return _COUNT.pack(count)


def count_of(content: bytes) -> int:
    """How many items the input has."""
    count: int = _COUNT.unpack(content)[0]
    return count


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


def json_of(value: Any) -> bytes:
    """The value as JSON."""
    try:
        return orjson.dumps(value)
    except TypeError:  # deeper than orjson writes, though not deeper than it reads
        return json.dumps(value, separators=(",", ":")).encode()


def digest(said: bytes) -> bytes:
    """What tells two requests apart."""
    return blake2b(said, digest_size=8).digest()


def read(
    item: int, rows: Iterable[Row], samples: Samples, said: bytes | None = None
) -> tuple[Entry | None, bytes | None]:
    """What all entries of an item mean, and the request that it was sent with.

    Args:
        said: the request as the input has it now: where it is the same one, it need not be inflated.

    Raises:
        DamagedError: an entry is not as it was written.
    """
    entry: Entry | None = None
    was: bytes | None = None
    for row in rows:
        kind, content = decode(item, row)
        try:
            if kind is Kind.SENDING:
                entry, was = _sent(content, entry, samples, said)
            elif entry is None or was is None:
                raise DamagedError
            else:
                _apply(entry, kind, content, was, samples)
        except (struct.error, zlib.error, ValueError, IndexError) as error:
            raise DamagedError from error
    return entry, was


def request_of(said: bytes) -> RunRequest:
    """The request that was encoded."""
    return RunRequest(**orjson.loads(said))


def run_of(content: bytes) -> str:
    """The id of the run in a SUBMITTED entry."""
    return _RUN + content[1:].hex() if content[0] & _HEX_RUN else content[1:].decode()


def is_reused(content: bytes) -> bool:
    """Whether the run in a SUBMITTED entry existed before."""
    return bool(content[0] & _REUSED)


def _sent(content: bytes, entry: Entry | None, samples: Samples, said: bytes | None) -> tuple[Entry, bytes]:
    flags, at, known = _SENDING.unpack_from(content)
    start = _SENDING.size
    if flags & _HEX_KEY:
        end = start + 16
        key = content[start:end].hex()
    else:
        end = start + 1 + content[start]
        key = content[start + 1 : end].decode()
    was = said
    if was is None or digest(was) != known:
        was = inflated(content[end:], samples.request)
    by_server = bool(flags & _BY_SERVER)
    if entry is not None and entry.key == key:
        at, by_server = entry.at, entry.by_server
    return Entry(key, at, by_server, Kind.SENDING), was


def _apply(entry: Entry, kind: Kind, content: bytes, was: bytes, samples: Samples) -> None:
    entry.state, entry.body = kind, None
    if kind is Kind.SUBMITTED:
        entry.run_id, entry.reused = run_of(content), is_reused(content)
    elif kind is Kind.ENDED:
        context = _alike(samples.run, was, entry.run_id) + _context(was, entry.run_id)
        entry.body = orjson.loads(inflated(content, context))
    elif kind is Kind.REFUSED:
        entry.body = orjson.loads(inflated(content, _context(was, entry.run_id)))


def _hex(text: str) -> bytes | None:
    """The 16 bytes that it names in hexadecimal; None where it is any other text."""
    if len(text) == 32 and not text.strip(_DIGITS):
        return bytes.fromhex(text) if text.isascii() else None
    return None


def _alike(marked: bytes, said: bytes, run_id: str | None) -> bytes:
    """What the first run would be as the one of another item."""
    for mark, words in zip(_MARKS, _own(said, run_id), strict=False):
        marked = marked.replace(mark, words)
    return marked


def _own(said: bytes, run_id: str | None) -> list[bytes]:
    """What differs from one run to the next, and can be known before: the ID, and each member of the request."""
    return [b"" if run_id is None else run_id.encode(), *said[1:-1].split(b',"')]


def _context(said: bytes, run_id: str | None) -> bytes:
    return said if run_id is None else said + run_id.encode()


_KINDS = tuple(Kind)
_SAMPLE = 2048
"""How much of a sample is kept, in bytes."""
_MARKS = [bytes([n]) for n in range(32)]
"""No JSON has them."""
_MOST = 8
"""How often a mark is set: an ID may be a single letter."""
_COUNT = struct.Struct(">Q")
_SENDING = struct.Struct(">Bd8s")
_BY_SERVER, _HEX_KEY = 1, 2  # flags of SENDING
_REUSED, _HEX_RUN = 1, 2  # flags of SUBMITTED
_RUN = "run_"
_DIGITS = "0123456789abcdef"
