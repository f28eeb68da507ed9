"""Requests and replies of the operations, independent of sockets and aiohttp."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen


@frozen
class Ask:
    """The parts of a request that operations use."""

    path: dict[str, str]
    query: list[tuple[str, str]]
    body: bytes
    prefer: list[str]
    if_none_match: list[str]
    idempotency_keys: list[str]
    content_type: str | None
    content_range: str | None
    traceparents: list[str] = field(factory=list)
    headers: Mapping[str, str] = field(factory=dict)
    content: "BodyStream | None" = None


@frozen
class BodyStream:
    """A body that is read in blocks, since it may be larger than memory."""

    chunks: AsyncIterator[bytes]
    length: int | None


@frozen
class Output:
    """A file that a run has written; `identity` is the one recorded then."""

    path: Path
    identity: str


@frozen
class Reply:
    """A reply: JSON, bytes, a file, or no body if `document` is None."""

    status: int
    document: Any = None
    headers: dict[str, str] = field(factory=dict)
    content_type: str = "application/json"
    file: Output | None = None
