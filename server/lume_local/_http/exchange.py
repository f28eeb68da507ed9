"""Requests, replies and problems (RFC 9457) of the operations, independent of sockets and aiohttp."""

import http
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from attrs import field, frozen
from multidict import CIMultiDict, MultiMapping

from lume_async._base.elided import elided
from lume_local._runs.health import is_storage_full, why
from lume_local._runs.store.records import StoreUnavailable


@frozen
class Ask:
    """The parts of a request that operations use."""

    path: dict[str, str]
    query: Sequence[tuple[str, str]]
    body: bytes
    headers: MultiMapping[str] = field(factory=CIMultiDict)
    content: "BodyStream | None" = None
    holder: str = ""
    """The name of the key or the token."""
    is_admin: bool = True
    owner: str = ""
    """The owner of the key or token, see `Holder`; empty for the server's own key, and where no key is needed."""
    peer: str = ""
    """The address that the request came from, a client's or a proxy's."""

    def every(self, header: str) -> list[str]:
        """Return the values of a header that may be given several times."""
        return self.headers.getall(header, [])

    @property
    def content_type(self) -> str | None:
        return self.headers.get("Content-Type")

    @property
    def if_none_match(self) -> list[str]:
        return self.every("If-None-Match")

    @property
    def behind(self) -> str:
        """The client's address according to a proxy; a client may send one, too."""
        # A proxy appends the address that it sees, to this header or as another one.
        return self.headers.getall("X-Forwarded-For", [""])[-1].rpartition(",")[2].strip()


class BodyStream(NamedTuple):
    """A body that is read in blocks, since it may be larger than memory.

    Attributes:
        left: returns the data that had arrived unread when the connection broke.
    """

    chunks: AsyncIterator[bytes]
    length: int | None
    left: Callable[[], bytes] = bytes


class Output(NamedTuple):
    """A file that a run has written; `identity` was recorded at that time."""

    path: Path
    identity: str


@frozen
class Reply:
    """A reply: JSON, bytes, a file, a stream, or no body if `document` is None."""

    status: int
    document: Any = None
    headers: dict[str, str] = field(factory=dict)
    content_type: str = "application/json"
    file: Output | None = None
    stream: AsyncGenerator[bytes, None] | None = None


def page_headers(policy: str) -> dict[str, str]:
    """Return the headers of a page for browsers, and of its files."""
    return {
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }


TYPE = "urn:lume:problem:"
_TITLES = {
    "malformed-json": (400, "The body is not JSON"),
    "malformed-request": (400, "The request can't be read"),
    "invalid-query": (400, "A query parameter is invalid"),
    "invalid-cursor": (400, "The cursor is unknown here"),
    "invalid-idempotency-key": (400, "The idempotency key is invalid"),
    "unauthorized": (401, "The API key is missing or wrong"),
    "forbidden": (403, "The API key may not do this"),
    "not-found": (404, "There is nothing at this path"),
    "run-not-found": (404, "There is no such run"),
    "flow-version-not-found": (404, "There is no such flow version"),
    "no-output": (404, "The run has written nothing"),
    "upload-not-found": (404, "There is no such upload"),
    "method-not-allowed": (405, "This path does not take this method"),
    "not-acceptable": (406, "The rows can't be sent in this form"),
    "request-timeout": (408, "The request took too long to arrive"),
    "already-processed": (409, "The source has been processed already"),
    "run-in-progress": (409, "The source is being processed"),
    "run-not-ended": (409, "The run has not ended"),
    "mismatching-upload-offset": (409, "The upload has another offset"),
    "completed-upload": (409, "The upload is complete"),
    "inconsistent-upload-length": (400, "The length is not what was announced"),
    "other-content": (422, "The content is not what was announced"),
    "draft-changed": (409, "The draft was changed"),
    "invalid-range": (416, "The file has no such range"),
    "output-changed": (409, "The output was changed"),
    "output-gone": (410, "The output is gone"),
    "output-unreadable": (409, "The output can't be read"),
    "flow-version-exists": (409, "A flow version never changes"),
    "too-large": (413, "The body is too large"),
    "precondition-failed": (412, "There is one already"),
    "unsupported-media-type": (415, "The body has a media type that is not accepted here"),
    "unsupported-encoding": (415, "The body is encoded"),
    "invalid-field": (422, "A field is invalid"),
    "idempotency-key-reused": (422, "The idempotency key belongs to another request"),
    "source-not-allowed": (422, "The source may not be read"),
    "invalid-flow": (422, "The flow version has a mistake"),
    "not-supported": (422, "This server can't do that"),
    "webhook-not-allowed": (422, "The webhook may not be called"),
    "internal": (500, "The server met an error"),
    "unavailable": (503, "The server can't do its work at the moment"),
    "too-many-wrong-keys": (429, "Too many wrong API keys"),
    "too-many-proposals": (429, "The key has too many proposals under way"),
    "too-many-submissions": (429, "The key has submitted too many runs"),
    "storage-full": (507, "The server has no room left"),
}


class Problem(Exception):
    """An error reply.

    Args:
        kind: the last part of its `type`.
        detail: what exactly is wrong and what to do.
        retry_after: seconds after which the same request may succeed; by default as for others of its status.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        *,
        retry_after: int | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(kind, elided(detail))
        self.kind, self.headers, self.retry_after = kind, headers or {}, retry_after
        self.status, title = _TITLES[kind]
        self.document: dict[str, Any] = {
            "type": TYPE + kind,
            "title": title,
            "status": self.status,
            "detail": elided(detail),
            **extra,
        }


def odd_problem(status: int, reason: str) -> Problem:
    """Return a problem for an error of HTTP itself, with its status."""
    problem = Problem("malformed-request", reason)
    problem.status = status
    problem.document |= {"status": status, "title": http.HTTPStatus(status).phrase}
    return problem


def unavailable_problem(error: StoreUnavailable) -> Problem:
    """Return the problem for an operation that the state could not perform."""
    if error.is_in_doubt:  # not 503 or 507: those say that the request may be sent again
        words = "it may have been done, and a run may exist: send it again with its idempotency key, or look first"
        return Problem("internal", f"{why(error)}: {words}")
    kind = "storage-full" if is_storage_full(error) else "unavailable"
    return Problem(kind, f"{why(error)}: nothing was done, try again later")
