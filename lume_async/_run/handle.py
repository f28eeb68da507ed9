"""`LumeRun`: a handle on one run: its state at the last poll, and the sender to poll it with."""

from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from lume_async._base.backoff import Backoff, PollInterval, polling
from lume_async._base.default_client import find_client
from lume_async._base.duration import Duration, optional_seconds
from lume_async._base.public import public
from lume_async._decoding import parse_time
from lume_async._http.sender import Sender
from lume_async._run.poll import RunPoll, fetch, timeout_error
from lume_async._run.waiter import Unfinished
from lume_async._wire import endpoints
from lume_async.errors import ConfigurationError, ResponseDecodeError, RunFailedError
from lume_async.models import RunMetadata, RunRecord, RunStatus

if TYPE_CHECKING:
    from lume_async._run.rows import Rows
    from lume_async._wire.row_endpoints import Part


@public
class LumeRun:
    """One run: its ID, and its state at the last poll.

    Handles with the same ID are equal. A pickled handle holds no API key and no connection; unpickled, it uses
    the default client of its package.
    """

    __slots__ = (
        *("__weakref__", "_find", "_id", "_key", "_metadata", "_record", "_reused", "_sender", "_warned"),
    )

    def __init__(
        self,
        sender: Sender | None,
        run_id: str,
        record: RunRecord | None = None,
        *,
        idempotency_key: str | None = None,
        reused: bool = False,
    ) -> None:
        self._sender = sender
        self._find: Callable[[], Any] | None = None
        self._id = run_id
        self._record = record
        self._metadata: RunMetadata | None = None
        self._key = idempotency_key
        self._reused = reused
        self._warned: RunStatus | None = None  # the last unknown status that was logged

    @property
    def id(self) -> str:
        """The ID of the run."""
        return self._id

    @property
    def status(self) -> RunStatus | None:
        """The status at the last poll; None before the first."""
        return self._record.status if self._record else None

    @property
    def metadata(self) -> RunMetadata:
        """The run's metadata: a dict as the server sent it, with typed views; empty before the first poll."""
        if self._metadata is None:
            raw = self._raw("metadata") or {}
            if not isinstance(raw, dict):
                raise ResponseDecodeError(f"expected an object, got {type(raw).__name__} @ $.metadata")
            self._metadata = RunMetadata(raw)
        return self._metadata

    @property
    def flow_version(self) -> str | None:
        """The flow and its version, such as `customer_cleaner:v1`."""
        return self._text("flow_version")

    @property
    def source_path(self) -> str | None:
        """The source that the run reads."""
        return self._text("source_path")

    @property
    def run_metadata(self) -> dict[str, Any] | None:
        """The JSON object of the submission."""
        value = self._raw("run_metadata")
        return value if isinstance(value, dict) else None

    @property
    def force_rerun(self) -> bool:
        """Whether the run was submitted with `force_rerun`."""
        return bool(self._raw("force_rerun"))

    @property
    def created_at(self) -> datetime | None:
        """When the server accepted the run."""
        return self._time("created_at")

    @property
    def started_at(self) -> datetime | None:
        """When the run started to execute."""
        return self._time("started_at")

    @property
    def finished_at(self) -> datetime | None:
        """When the run ended; None before."""
        return self._time("finished_at")

    @property
    def progress(self) -> float | None:
        """The progress of the run, 0 to 1, if the server reports it."""
        value = self._raw("progress")
        return float(value) if isinstance(value, (int, float)) else None

    @property
    def idempotency_key(self) -> str | None:
        """The key of the submission; None for a run that was not submitted through this handle."""
        return self._key

    @property
    def reused(self) -> bool:
        """Whether the server answered the submission with a run that already existed."""
        return self._reused

    @property
    def is_terminal(self) -> bool:
        """Whether the run had ended at the last poll."""
        return self._record is not None and self._record.is_terminal

    @property
    def succeeded(self) -> bool:
        """Whether all rows were mapped."""
        return self.status == RunStatus.SUCCEEDED

    @property
    def has_output(self) -> bool:
        """Whether mapped rows were written: SUCCEEDED or PARTIAL_FAILED."""
        status = self.status
        return status is not None and status.has_output

    @property
    def mapped_location(self) -> str | None:
        """Where the mapped rows were written; None if there are none."""
        return self.metadata.target_locations.mapped

    @property
    def rejects_location(self) -> str | None:
        """Where the rejected rows were written; None if there are none."""
        return self.metadata.target_locations.rejects

    @property
    def error_message(self) -> str | None:
        """The server's error message; None if there is none."""
        return self.metadata.error_message

    async def wait(self, timeout: Duration | None = 3600, poll_interval: PollInterval = None) -> Self:
        """Wait for the run to finish; the handle is updated after every poll.

        Transient polling errors (no connection, 429, 5xx, unreadable responses) do not end the wait; only the
        deadline does. Cancelling the wait does not cancel the run. If the server supports long polling, it
        responds as soon as the status changes.

        Args:
            timeout: seconds (or a `timedelta`) for the whole wait; 0 polls once; None waits indefinitely.
            poll_interval: None for the library's back-off (at once, then 0.5 s growing to 5 s), a number of
                seconds, a `timedelta` or a `Backoff`.

        Returns:
            This handle; PARTIAL_FAILED is not an error.

        Raises:
            RunFailedError: the run ended FAILED, CRASHED, CANCELLED or in an unknown status.
            RunTimeoutError: the timeout passed first; the run keeps running.
            ApiError: the server refuses to show the run.
        """
        backoff, limit = polling(poll_interval), optional_seconds(timeout, "timeout")
        if not self.is_terminal:
            await wait_until_ended(self, backoff, limit)
        self.raise_for_status()
        return self

    async def refresh(self) -> None:
        """Poll the run once and update the handle.

        Raises:
            RunNotFoundError: the server knows no such run.
            ApiError: see the tree in `lume_async.errors`.
        """
        update(self, await fetch(self._connected, self._id))

    async def cancel(self) -> None:
        """Ask the server to stop the run. Idempotent: an ended run stays as it is.

        The run may need a moment to stop: wait for it to know how it ended.

        Raises:
            RunNotFoundError: the server knows no such run.
            ApiError: see the tree in `lume_async.errors`; a server that can't cancel answers 404 or 405.
        """
        update(self, await self._connected.send(endpoints.cancel(self._id)))

    def watch(
        self, *, poll_interval: PollInterval = None, timeout: Duration | None = None
    ) -> AsyncIterator["LumeRun"]:
        """Follow the run: yield a snapshot at once and at every change of its status; the last one is terminal.

        The handle is updated after every poll. Leaving the iteration stops polling.

        Args:
            poll_interval: as in `wait`.
            timeout: seconds (or a `timedelta`) from the first step on; None for no limit.

        Raises:
            RunTimeoutError: raised by the iteration step that exceeds the timeout.
        """
        from lume_async._run.watch import RunWatch  # here, as below: a first request does not need it

        sender = self._connected
        return RunWatch(
            partial(_poll, self),
            partial(snapshot, self),
            lambda unfinished: timeout_error(self, unfinished, "as long as it was watched"),
            backoff=polling(poll_interval),
            timeout=optional_seconds(timeout, "timeout"),
            clock=sender.clock,
        )

    def rejects(self, reason: str | None = None, limit: int | None = None) -> "Rows":
        """The rejected rows, each with its reasons; pages are fetched as needed.

        If the run has not ended, or its output was changed or removed since, fetching the first row raises
        `InvalidRequestError`.

        Args:
            reason: only rows with this reason, the whole text as in `metadata.metrics.reject_reasons`. If no row
                has it, a `UserWarning` names the reasons that the run has counted.
            limit: the maximum number of rows.
        """
        return self._rows("rejects", reason=reason, limit=limit, reasons=self._reject_reasons)

    def mapped(self, limit: int | None = None) -> "Rows":
        """The mapped rows, in the order of the source; pages are fetched as needed.

        Args:
            limit: the maximum number of rows.
        """
        return self._rows("mapped", limit=limit)

    def to_dict(self) -> dict[str, Any]:
        """The run as the server sent it, in plain JSON values; only its ID before the first poll."""
        return dict(self._record.raw) if self._record else {"id": self._id}

    def raise_for_status(self) -> None:
        """Raise if the run had failed at the last poll; else do nothing.

        Raises:
            RunFailedError: the run ended FAILED, CRASHED, CANCELLED or in an unknown status.
        """
        if self.is_terminal and not self.has_output:
            try:
                reason = self.error_message or "the server gave no reason"
            except ResponseDecodeError:
                reason = "its metadata can't be read"
            raise RunFailedError(f"run {self._id} ended {self.status}: {reason}", run=self)

    def _rows(self, part: "Part", **options: Any) -> "Rows":
        from lume_async._run.rows import Rows

        return Rows(self._connected, self._id, part, **options)

    async def _reject_reasons(self) -> Collection[str]:
        """The reasons that the run has counted."""
        if not self.is_terminal:
            await self.refresh()
        return self.metadata.metrics.reject_reasons

    def __repr__(self) -> str:
        """Short and safe: no metadata, no connection."""
        return f"LumeRun({self._id!r}, status={None if self.status is None else str(self.status)!r})"

    def _repr_html_(self) -> str:
        """A table for notebooks: the state of the run at the last poll."""
        from lume_async._run.notebook import run_html

        return run_html(self)

    def __eq__(self, other: object) -> bool:
        """Whether both have the same ID."""
        return self._id == other._id if isinstance(other, LumeRun) else NotImplemented

    def __hash__(self) -> int:
        """The hash of the ID."""
        return hash(self._id)

    def __getstate__(self) -> dict[str, Any]:
        """The data: no client, no connection, no API key."""
        return {"id": self._id, "record": self._record, "key": self._key, "reused": self._reused}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a handle without a client: it uses the default one of its package."""
        self.__init__(  # type: ignore[misc]
            None, state["id"], state["record"], idempotency_key=state["key"], reused=state["reused"]
        )

    def __copy__(self) -> "LumeRun":
        """Another handle on the same run, through the same client."""
        copied = LumeRun(self._sender, self._id, self._record, idempotency_key=self._key, reused=self._reused)
        copied._find = self._find
        return copied

    def __deepcopy__(self, _memo: dict[int, Any]) -> "LumeRun":
        """A plain copy: records are never changed in place."""
        return self.__copy__()

    def _bind(self, find_client: Callable[[], Any]) -> Self:
        """Use the client that the function returns; for the unpickled handles of lume_sync."""
        self._sender, self._find = None, find_client
        return self

    @property
    def _connected(self) -> Sender:
        if self._sender is None:
            find = self._find or find_client("lume_async")
            if find is None:
                raise ConfigurationError("this run handle has no client: import lume_async first")
            self._sender = find()._sender
        return self._sender

    def _raw(self, name: str) -> Any:
        return self._record.raw.get(name) if self._record else None

    def _text(self, name: str) -> str | None:
        value = self._raw(name)
        return value if isinstance(value, str) else None

    def _time(self, name: str) -> datetime | None:
        value = self._raw(name)
        if value is None:
            return None
        try:
            return parse_time(value)
        except ValueError as error:
            reason = str(error)
        raise ResponseDecodeError(f"{reason} @ $.{name}")


def record_of(run: LumeRun) -> RunRecord | None:
    """The record of the last poll; None before the first."""
    return run._record


def snapshot(run: LumeRun, record: RunRecord) -> LumeRun:
    """A new handle on the run, in the state of that record."""
    return LumeRun(run._sender, run.id, record, idempotency_key=run._key, reused=run._reused)


def update(run: LumeRun, record: RunRecord) -> None:
    """Replace the handle's record, and report a change of its status; an ended run never changes back."""
    previous = run.status
    if run.is_terminal and not record.is_terminal:
        return
    run._record, run._metadata = record, None
    if record.status != previous and run._sender is not None:
        observer = run._sender.observer
        observer.status_changed(record.id, previous, record.status)
        if not (record.status.is_known or record.is_terminal or record.status == run._warned):
            run._warned = record.status
            observer.unknown_status(record.id, record.status)


async def wait_until_ended(
    run: LumeRun,
    backoff: Backoff,
    timeout: float | None,
    *,
    max_probes: int | None = None,
    long_poll: bool = True,
) -> None:
    """Poll the run until it has ended, in whatever status. Raises `RunTimeoutError`, `ApiError`."""
    poll = _poll(run, lambda record: record.is_terminal, long_poll=long_poll)
    try:
        await poll.wait(backoff, timeout, max_probes)
        return
    except Unfinished as caught:
        unfinished = caught
    polls = "1 poll" if unfinished.probes == 1 else f"{unfinished.probes} polls"
    limit = f"after {polls}" if unfinished.in_time or timeout is None else f"within {timeout:g} s"
    raise timeout_error(run, unfinished, limit) from unfinished.last_error


def _poll(run: LumeRun, done: Callable[[RunRecord], bool], *, long_poll: bool = True) -> RunPoll:
    on_record = partial(update, run)
    return RunPoll(run._connected, run.id, run._record, on_record=on_record, done=done, long_poll=long_poll)
