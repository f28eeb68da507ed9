"""A request as data (`Call`), the state of its attempts (`CallState`), and its response (`Response`)."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from attrs import define, field

from lume_async._base.public import public
from lume_async._base.secret import Secret
from lume_async.errors import ApiError
from lume_async.models import RunRequest

T = TypeVar("T")


@public
@define(eq=False)  # not frozen: creating a frozen one takes twice the time, for every request
class Response:
    """A complete response, with any status, as a `Transport` returns it.

    Attributes:
        status: the HTTP status.
        headers: the headers; the client reads their names in any case.
        body: the body, decompressed.
    """

    status: int
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)  # some servers repeat the API key


class Content(Protocol):
    """A streamed body: iterated once, and closed at the end of the attempt."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def close(self) -> None: ...


@public
class Receiver(Protocol):
    """Takes the body of a 200 or 206 as it arrives, instead of `Response.body`; used by one attempt at a time.

    `flush` ends each attempt that has begun, even one that failed. Their errors are `ApiError`s.
    """

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the next attempt; the client has added them to those of the request."""
        ...

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the status and the headers, before the body."""

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes of the body, as they are: such a body is not compressed."""

    async def flush(self) -> None:
        """Keep what has arrived, at the end or where it broke off."""


@define(eq=False)
class Call(Generic[T]):
    """One request.

    Attributes:
        operation: its method, and its path without IDs, for logs and traces: `GET /v1/runs/{id}`.
        decode: decodes a 2xx response, or a 304 if `If-None-Match` was sent.
        run_id: the run that the request is about, if any: a 404 raises `RunNotFoundError`.
        stream: creates the body for each attempt, if it is streamed.
        receiver: takes the body of the response, if it is streamed.
        hold: seconds that the server may hold the request, on top of the time limit.
        submits: the run that it starts; None for requests that can safely be sent twice.
        key: the idempotency key, if it starts a run.
        service: the service whose contract it follows.
        refusal: reads an error response further than its status, from its JSON; returns the same error or another.
        repeats: whether it may be sent again although it may have arrived.
        keyed: whether it carries the API key.
        optional: whether servers may lack the operation: then the error is `NotSupportedError`.
    """

    operation: str
    path: str
    decode: Callable[[Response], T] = field(repr=False)
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    stream: Callable[[], Content] | None = field(default=None, repr=False)
    receiver: Receiver | None = None
    run_id: str | None = None
    hold: float = 0.0
    submits: RunRequest | None = None
    key: str | None = None
    service: str = "lume"
    refusal: Callable[[ApiError, Mapping[str, Any]], ApiError] | None = field(default=None, repr=False)
    repeats: bool = True
    keyed: bool = True
    optional: bool = False

    @property
    def method(self) -> str:
        return self.operation.partition(" ")[0]


@define(eq=False)
class CallState:
    """The state of one call over its attempts. Each field has one writer; the creator may read them all.

    field        written by             when
    -----------  ---------------------  ---------------------------------------------------------
    attempts     the sender             before each attempt: the number of attempts
    first_sent   the sender             at the first attempt of a submission, in monotonic seconds;
                 or a resumed batch     before the call, from its journal
    sent_at      a resumed batch        before the call, from its journal, in place of first_sent: in seconds since
                                        the epoch on the server's clock
    lost         the sender             after an attempt that may have started a run; never reset;
                 or a resumed batch     before the call: its process ended without an answer
    key          the sender             with each attempt: its API key
    token        the sender             with each attempt: its bearer token
    rekeyed      the sender             once, when a refused key was fetched anew
    traced       the sender             at the start of the call: whether OpenTelemetry traces it
    """

    attempts: int = 0
    first_sent: float | None = None
    sent_at: float | None = None
    lost: bool = False
    key: Secret | None = None
    token: Secret | None = None
    rekeyed: bool = False
    traced: bool = False

    def renew(self) -> None:
        """Reset the attempts, to send the call once more after a pause; `lost` is kept."""
        self.attempts, self.rekeyed = 0, False
        if not self.lost:
            self.first_sent = None
