"""`Service`: the requests and the promises of a run service, from which the client's rules follow. Pure."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from lume_async._wire import endpoints
from lume_async._wire.call import Call
from lume_async._wire.endpoints import Polled, Submitted
from lume_async.errors import InvalidRequestError, NotSupportedError
from lume_async.models import RunRecord, RunRequest

Find: TypeAlias = Callable[[RunRequest, str], Call[Sequence[RunRecord]]] | None
FOR_EVER = float("inf")
USABLE = 0.9
"""The fraction of the retention of idempotency keys that is relied on."""


class Promises(NamedTuple):
    """The promises of a server about submissions.

    Attributes:
        keys: whether it answers a known idempotency key with the run of that key; None: its answers announce it.
        kept: the seconds for which it keeps a key, or `FOR_EVER`; None: it does not say.
        names_runs: whether the key becomes the ID of the run, so that a 409 for our key means that run.
        refuses_sources: whether it refuses a source that a run has processed or is processing.
        lacks: the arguments of a submission that it can't carry.
        valid_key: the idempotency keys that it takes; None: any.
    """

    keys: bool | None = False
    kept: float | None = None
    names_runs: bool = False
    refuses_sources: bool = False
    lacks: Sequence[str] = ()
    valid_key: re.Pattern[str] | None = None

    def refuse(self, request: RunRequest) -> bool:
        """Return whether a second run of the request is refused as a duplicate, whatever its key."""
        return self.refuses_sources and not request.force_rerun

    def keep(self, age: float | None) -> bool | None:
        """Return whether the server has a key that was first sent `age` seconds ago; None if not known."""
        if not self.keys or self.kept is None or self.kept == FOR_EVER:
            return self.keys
        return age is not None and age < self.kept * USABLE


class Service(Protocol):
    """A run service: its methods return requests, which know how their answers are read.

    Attributes:
        name: its contract, which its calls and journals name.
        promises: its promises, before any answer.
        find: the request for the runs of a key, from a list without lag; None if it has none.
    """

    name: str
    promises: Promises
    find: Find

    def submit(self, request: RunRequest, idempotency_key: str, /) -> Call[Submitted]: ...
    def run(self, run_id: str, /) -> Call[RunRecord]: ...
    def status(self, run_id: str, /, *, etag: str | None = None, hold: float = 0.0) -> Call[Polled]: ...
    def cancel(self, run_id: str, /) -> Call[RunRecord]: ...
    def health(self) -> Call[Any]: ...


class Lume:
    """The service of this package, which announces its capabilities."""

    name = "lume"
    promises = Promises(keys=None, refuses_sources=True)
    find: Find = None  # its list is by source: see `LookUp`
    submit = staticmethod(endpoints.submit)
    run = staticmethod(endpoints.run)
    status = staticmethod(endpoints.status)
    cancel = staticmethod(endpoints.cancel)
    health = staticmethod(endpoints.health)


LUME = Lume()


def check_carried(service: Service, request: RunRequest, *, attaches: bool = False, **files: object) -> None:
    """Raise `NotSupportedError` or `InvalidRequestError` for arguments that the service would drop."""
    promises = service.promises
    for name in promises.lacks:
        if files.get(name) is not None or getattr(request, name, None):
            raise NotSupportedError(f"{service.name} does not support {name}; no request was sent")
    if attaches and not promises.refuses_sources:
        raise NotSupportedError(f"{service.name} does not support on_duplicate='attach'; no request was sent")
    key = request.idempotency_key
    if key is not None and promises.valid_key is not None and not promises.valid_key.fullmatch(key):
        raise InvalidRequestError(f"idempotency_key: {service.name} takes only {promises.valid_key.pattern}")
