"""A request as data (`Call`), how it has gone so far (`CallState`), and its answer (`Response`)."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Generic, Protocol, TypeVar

from attrs import define, field

from lume_async._base.secret import Secret
from lume_async.models import RunRequest

T = TypeVar("T")


@define(eq=False)  # not frozen: one is made per request, and a frozen one takes twice the time
class Response:
    """One whole answer. `headers` finds names whatever their case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)  # some servers repeat the key that they refuse


class Content(Protocol):
    """A body that is streamed: iterated once, and closed at whatever point the attempt ends."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def close(self) -> None: ...


@define(eq=False)
class Call(Generic[T]):
    """One request to be.

    Attributes:
        operation: its name in logs and traces, such as `GET /v1/runs/{id}`: no ids, so that they group.
        decode: the answer's meaning; gets every 2xx, and 304 where `If-None-Match` was sent.
        run_id: the one run that it is about, for which a 404 means `RunNotFoundError`.
        stream: makes the body anew for each attempt, where it is too large for one piece.
        hold: for how many seconds the server may hold the request, on top of the time limit.
        submits: the run that it starts; None for every request that may be sent twice without harm.
        keyed: whether it carries the API key.
        optional: whether a server may be without this operation: then the error says so.
    """

    operation: str
    method: str
    path: str
    decode: Callable[[Response], T] = field(repr=False)
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    stream: Callable[[], Content] | None = field(default=None, repr=False)
    run_id: str | None = None
    hold: float = 0.0
    submits: RunRequest | None = None
    keyed: bool = True
    optional: bool = False


@define(eq=False)
class CallState:
    """How one call has gone so far. One owner writes each field; whoever made the state may read all of them.

    field        written by             when
    -----------  ---------------------  ---------------------------------------------------------
    attempts     the sender             before each attempt: how often the call was sent
    first_sent   the sender             at the first attempt of a submission, in monotonic seconds;
                 or a resumed batch     before the call, from its journal
    sent_at      a resumed batch        before the call, from its journal, in place of first_sent: in seconds since
                                        the epoch on the server's clock
    lost         the sender             after an attempt whose answer may hide a run; never taken back;
                 or a resumed batch     before the call: its process ended without an answer
    key          the sender             with each attempt: the API key that it carried
    rekeyed      the sender             once, when a refused key was asked for anew
    traced       the sender             at the start of the call: whether OpenTelemetry follows it
    """

    attempts: int = 0
    first_sent: float | None = None
    sent_at: float | None = None
    lost: bool = False
    key: Secret | None = None
    rekeyed: bool = False
    traced: bool = False

    def renew(self) -> None:
        """The same call once more, after a pause: attempts count anew, what was lost stays lost."""
        self.attempts, self.rekeyed = 0, False
        if not self.lost:
            self.first_sent = None
