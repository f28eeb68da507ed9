"""`LumeRun`: a handle on one run: its state at the last poll, and the sender to poll it with."""

import os
import uuid
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar, overload

import lume_async  # for annotations: its names are loaded on use
from lume_async._base import arguments
from lume_async._base.backoff import Backoff, PollInterval, polling
from lume_async._base.batched import Items
from lume_async._base.default_client import find_client
from lume_async._base.duration import Duration, optional_seconds
from lume_async._base.public import public
from lume_async._base.words import counted
from lume_async._http.sender import Sender
from lume_async._run.poll import RunPoll, RunWatch, fetch, timeout_error
from lume_async._run.state import RunState, run_html
from lume_async._run.submit import OnDuplicate, StartedRun, submit
from lume_async._run.transfer import OnProgress, SourceData
from lume_async._run.waiter import Unfinished
from lume_async.errors import ConfigurationError, InvalidRequestError
from lume_async.models import RunRecord, RunRequest, RunStatus, plain_text

T = TypeVar("T")


@public
class LumeRun(RunState):
    """One run: its ID, and its state at the last poll.

    Handles with the same ID are equal. A pickled handle holds no API key and no connection; unpickled, it uses
    the default client of its package.

    Examples:
        >>> run = await client.run("customer_cleaner:v1", "february.csv")
        >>> await run.wait(timeout=600)
        >>> if run.has_output:
        ...     print(run.metadata.metrics.rows_mapped, run.mapped_location)
    """

    __slots__ = ("__weakref__", "_find", "_sender", "_warned")

    def __init__(
        self,
        sender: Sender | None,
        run_id: str,
        record: RunRecord | None = None,
        *,
        idempotency_key: str | None = None,
        reused: bool = False,
    ) -> None:
        super().__init__(run_id, record, idempotency_key, reused=reused)
        self._sender = sender
        self._find: Callable[[], Any] | None = None
        self._warned: RunStatus | None = None  # the last unknown status that was logged

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

        Examples:
            >>> await run.wait(timeout=600, poll_interval=2)
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

        Examples:
            >>> await run.refresh()
            >>> print(run.status, run.progress)
        """
        update(self, await fetch(self._connected, self._id))

    async def cancel(self) -> None:
        """Ask the server to stop the run. Idempotent: an ended run stays as it is.

        The run may need a moment to stop: wait for it to know how it ended.

        Raises:
            RunNotFoundError: the server knows no such run.
            NotSupportedError: the server can't cancel runs.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> await run.cancel()
            >>> await client.wait_all([run])
        """
        update(self, await self._connected.send(self._connected.service.cancel(self._id)))

    def watch(
        self, *, poll_interval: PollInterval = None, timeout: Duration | None = None
    ) -> Items["LumeRun"]:
        """Follow the run: yield a snapshot at once and at every change of its status; the last one is terminal.

        The handle is updated after every poll. Leaving the iteration stops polling.

        Args:
            poll_interval: as in `wait`.
            timeout: seconds (or a `timedelta`) from the first step on; None for no limit.

        Raises:
            RunTimeoutError: raised by the iteration step that exceeds the timeout.

        Examples:
            >>> async for state in run.watch(timeout=600):
            ...     print(state.status, state.progress)
        """
        sender, limit = self._connected, optional_seconds(timeout, "timeout")
        return RunWatch(
            partial(_poll, self),
            partial(snapshot, self),
            lambda unfinished: timeout_error(self, unfinished, f"within {limit or 0:g} s"),
            backoff=polling(poll_interval),
            timeout=limit,
            clock=sender.clock,
        )

    async def rerun(self, *, force: bool = False) -> "LumeRun":
        """Submit the run again: return the new run at once.

        It has the same flow version, source, metadata, seeds and layout.

        Args:
            force: process the source even if this run or another one has processed it; may duplicate rows in the
                target. A run that failed needs no force.

        Raises:
            DuplicateRunError: a run has processed the source or is processing it.
            SubmissionUnknownError: the answer was lost: a run may exist.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> again = await run.rerun(force=True)
        """
        arguments.flag(force, "force")
        if self.flow_version is None or self.source_path is None:
            await self.refresh()
        if self.flow_version is None or self.source_path is None:
            raise InvalidRequestError(f"the server reports no flow version and source of run {self.id}")
        what = (self.flow_version, self.source_path, self.run_metadata)
        request = RunRequest(*what, force, seeds=self.seeds, layout=self.layout)
        return await start(self._connected, request)

    async def resubmit(
        self, corrected: SourceData, *, force: bool = False, progress: OnProgress | None = None
    ) -> "LumeRun":
        """Run the same flow version on corrected rejects of this run; return the new run at once.

        The new run has the metadata and the seeds of this one, and its ID as `resubmit_of`. If a run has already
        processed the same content for this run, or is processing it, that run is returned, with `reused=True`.

        Args:
            corrected: the corrected rejects with their `_lume_` columns: the path of a file in the server's format,
                its bytes, a binary file, or rows as `rejects` returns them (dicts, or a table).
            force: accept content without `_lume_` columns and content that was submitted before, and replace rows
                of this run.
            progress: as in `Client.upload`.

        Raises:
            InvalidRequestError: the run has not ended or wrote no rejects, `corrected` is not its rejects, or the
                new run would overwrite the rows of this one.
            SubmissionUnknownError: the answer was lost: a run may exist.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> corrected = [row | {"Email": "ann@example.org"} async for row in run.rejects()]
            >>> again = await run.resubmit(corrected)
        """
        from lume_async._run.resubmit import resubmit  # here, as below: a first request does not need it

        arguments.flag(force, "force")
        sender = self._connected
        done = await resubmit(sender, self, self.refresh, corrected, force=force, progress=progress)
        return started(sender, done)

    async def dismiss(self, why: str) -> None:
        """Note that nothing is left to do about the run, so that it no longer needs attention. May be repeated.

        Args:
            why: one line, at most 500 characters, for people who see the run later.

        Raises:
            InvalidRequestError: `why` is not valid, or the run has not ended.
            NotSupportedError: the server does not dismiss runs.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> await run.dismiss("the supplier sends a new file")
        """
        from lume_async._wire import report_endpoints

        update(self, await self._connected.send(report_endpoints.dismiss(self._id, plain_text(why, "why"))))

    async def deliveries(self) -> "list[lume_async.Delivery]":
        """Return the webhooks and messages of the run with the state of their delivery, oldest first.

        Raises:
            NotSupportedError: the server does not list deliveries.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> for delivery in await run.deliveries():
            ...     print(delivery.to, delivery.state)
        """
        from lume_async._wire import report_endpoints

        return await self._connected.send(report_endpoints.deliveries(self._id))

    @overload
    def rejects(
        self, reason: str | None = None, limit: int | None = None, *, as_: None = None
    ) -> "lume_async.Rows": ...

    @overload
    def rejects(self, reason: str | None = None, limit: int | None = None, *, as_: type[T]) -> Items[T]: ...

    def rejects(
        self, reason: str | None = None, limit: int | None = None, *, as_: type[T] | None = None
    ) -> "lume_async.Rows | Items[T]":
        """Return the rejected rows, each with its reasons; pages are fetched as needed.

        If the run has not ended, or its output was changed or removed since, fetching the first row raises
        `InvalidRequestError`.

        Args:
            reason: only rows with this reason, the whole text as in `metadata.metrics.reject_reasons`. If no row
                has it, a `UserWarning` names the reasons that the run has counted.
            limit: the maximum number of rows.
            as_: as in `mapped`. Rejected values may not fit a type: `str | None` takes all of a CSV file.

        Examples:
            >>> async for row in run.rejects(limit=10):
            ...     print(row["_lume_row"], row["_lume_reasons"], row["Email"])
        """
        return self._rows("rejects", as_, reason=reason, limit=limit, reasons=self._reject_reasons)

    @overload
    def mapped(self, limit: int | None = None, *, as_: None = None) -> "lume_async.Rows": ...

    @overload
    def mapped(self, limit: int | None = None, *, as_: type[T]) -> Items[T]: ...

    def mapped(self, limit: int | None = None, *, as_: type[T] | None = None) -> "lume_async.Rows | Items[T]":
        """Return the mapped rows, in the order of the source; pages are fetched as needed.

        Args:
            limit: the maximum number of rows.
            as_: an attrs class, a dataclass or a TypedDict: the type of the rows, instead of dicts. Columns that it
                lacks are left out; a row that does not fit raises `ResponseDecodeError`, which names the place.

        Raises:
            TypeError: `as_` is not such a class.

        Examples:
            >>> rows = [row async for row in run.mapped(limit=100)]
            >>> table = await run.mapped().to_arrow()
        """
        return self._rows("mapped", as_, limit=limit)

    async def download(
        self, output: "lume_async.Part", to: str | os.PathLike[str], *, progress: OnProgress | None = None
    ) -> Path:
        """Download the file that the run has written, as it is; return its path.

        The file is complete or does not appear: a broken connection is resumed where it broke, and the checksum of
        the server, if it sends one, is compared.

        Args:
            output: "mapped" or "rejects".
            to: the path of the new file, which replaces an existing one; or a folder, in which it gets the server's
                name for it.
            progress: called with the bytes that have arrived and their total (None if it is not known).

        Raises:
            InvalidRequestError: the run has no such output, or its rows are in a table, an object store or several
                files: the message says where.
            NotSupportedError: the server does not send outputs.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> path = await run.download("rejects", to="rejects.csv")
        """
        from lume_async._run.results.download import download

        return await download(self._connected, self._id, output, to, progress)

    def _rows(
        self, part: "lume_async.Part", as_: type[T] | None, reason: str | None = None, **options: Any
    ) -> "lume_async.Rows | Items[T]":
        from lume_async._run.results.rows import Rows
        from lume_async._wire.row_endpoints import rows_of_run

        rows = Rows(self._connected, rows_of_run(self._id, part, reason), **options)
        if as_ is None:
            return rows
        from lume_async._run.results.typed_rows import TypedRows, check_row_type

        check_row_type(as_)
        return TypedRows(rows, as_)

    async def _reject_reasons(self) -> Collection[str]:
        """Return the reasons that the run has counted."""
        if not self.is_terminal:
            await self.refresh()
        return self.metadata.metrics.reject_reasons

    def __repr__(self) -> str:
        """Return a short and safe text: no metadata, no connection."""
        return f"LumeRun({self._id!r}, status={None if self.status is None else str(self.status)!r})"

    def _repr_html_(self) -> str:
        """Return a table for notebooks: the state of the run at the last poll."""
        return run_html(self)

    def __eq__(self, other: object) -> bool:
        """Return whether both have the same ID."""
        return self._id == other._id if isinstance(other, LumeRun) else NotImplemented

    def __hash__(self) -> int:
        """Return the hash of the ID."""
        return hash(self._id)

    def __getstate__(self) -> dict[str, Any]:
        """Return the data: no client, no connection, no API key."""
        return {"id": self._id, "record": self._record, "key": self._key, "reused": self._reused}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a handle without a client: it uses the default one of its package."""
        self.__init__(  # type: ignore[misc]
            None, state["id"], state["record"], idempotency_key=state["key"], reused=state["reused"]
        )

    def __copy__(self) -> "LumeRun":
        """Return another handle on the same run, through the same client."""
        copied = LumeRun(self._sender, self._id, self._record, idempotency_key=self._key, reused=self._reused)
        copied._find = self._find
        return copied

    def __deepcopy__(self, _memo: dict[int, Any]) -> "LumeRun":
        """Return a plain copy: records are never changed in place."""
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


async def start(sender: Sender, request: RunRequest, on_duplicate: OnDuplicate = "raise") -> LumeRun:
    """Start a run, with its own idempotency key or a new one. Raises as `Client.run` does."""
    key = request.idempotency_key or uuid.uuid4().hex
    own_key = request.idempotency_key is not None
    return started(sender, await submit(sender, request, key, own_key=own_key, on_duplicate=on_duplicate))


def started(sender: Sender, done: StartedRun) -> LumeRun:
    """Return the handle on a run that was submitted, or found in place of a submission."""
    return LumeRun(sender, done.record.id, done.record, idempotency_key=done.key, reused=done.reused)


def snapshot(run: LumeRun, record: RunRecord) -> LumeRun:
    """Return a new handle on the run, in the state of that record."""
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
    polls = counted(unfinished.probes, "poll")
    limit = f"after {polls}" if unfinished.in_time or timeout is None else f"within {timeout:g} s"
    raise timeout_error(run, unfinished, limit) from unfinished.last_error


def _poll(run: LumeRun, done: Callable[[RunRecord], bool], *, long_poll: bool = True) -> RunPoll:
    on_record = partial(update, run)
    return RunPoll(run._connected, run.id, run._record, on_record=on_record, done=done, long_poll=long_poll)
