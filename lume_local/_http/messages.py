"""What the operations take and give: a request and an answer without sockets and without aiohttp."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen


@frozen
class Ask:
    """A request, as far as the operations care."""

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
    content: "Content | None" = None


@frozen
class Content:
    """A body that is read piece by piece, where an operation takes more than fits in memory."""

    chunks: AsyncIterator[bytes]
    length: int | None


@frozen
class Output:
    """A file that a run has written; `identity` is the one that it had then."""

    path: Path
    identity: str


@frozen
class Answer:
    """An answer: JSON, bytes as they are, a file, or nothing where `document` is None."""

    status: int
    document: Any = None
    headers: dict[str, str] = field(factory=dict)
    content_type: str = "application/json"
    file: Output | None = None
