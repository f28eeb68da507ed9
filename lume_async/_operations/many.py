"""`ManyRuns`: the operations of a client on more than one run.

Each method imports its work on first use: programs that submit a run and wait for it do not need it.
"""

import os
from collections.abc import AsyncIterable, Collection, Iterable
from datetime import datetime

import lume_async  # for annotations: its names are loaded on use
from lume_async._base import arguments
from lume_async._base.backoff import PollInterval
from lume_async._base.batched import Items
from lume_async._base.duration import Duration
from lume_async._http.sender import Sender
from lume_async._run.handle import LumeRun
from lume_async._run.pages import Paged, filters_of, oldest, run_pages
from lume_async._run.submit import OnDuplicate
from lume_async.models import Outcome, RunRequest, RunStatus, wanted_status


class ManyRuns:
    """The operations of `Client` on many runs."""

    _sender: Sender

    def as_completed(
        self,
        runs: Iterable[LumeRun | str],
        *,
        timeout: Duration | None = None,
        poll_interval: PollInterval = None,
    ) -> Items[Outcome[LumeRun]]:
        """Yield one `Outcome` per run (or ID), in completion order.

        A run that can't be followed is an outcome with its error and does not affect the others. Leaving the
        iteration stops polling.

        Args:
            runs: handles or ids.
            timeout: seconds (or a `timedelta`) for all runs; then each unfinished run is an outcome with a
                `RunTimeoutError`. None waits indefinitely.
            poll_interval: as in `LumeRun.wait`.

        Raises:
            InvalidRequestError: one of the run IDs is malformed; no request was sent.

        Examples:
            >>> async for outcome in client.as_completed(runs, timeout=600):
            ...     print(outcome.run_id, outcome.error or outcome.run.status)
        """
        from lume_async._many.completion import as_completed

        return as_completed(self._sender, runs, timeout=timeout, poll_interval=poll_interval)

    async def wait_all(
        self,
        runs: Iterable[LumeRun | str],
        *,
        timeout: Duration | None = None,
        poll_interval: PollInterval = None,
    ) -> list[Outcome[LumeRun]]:
        """Wait for many runs; return one `Outcome` per run (or ID), in the order of `runs`.

        `timeout` and `poll_interval` are as in `as_completed`.

        Raises:
            InvalidRequestError: one of the run IDs is malformed; no request was sent.

        Examples:
            >>> outcomes = await client.wait_all(runs, timeout=600)
        """
        from lume_async._many.completion import wait_all

        return await wait_all(self._sender, runs, timeout=timeout, poll_interval=poll_interval)

    def run_many(
        self,
        requests: Iterable[RunRequest] | AsyncIterable[RunRequest],
        *,
        max_active: int = 100,
        journal: str | os.PathLike[str] | None = None,
        retry_failed: bool = False,
        on_duplicate: OnDuplicate = "raise",
        timeout: Duration | None = None,
        poll_interval: PollInterval = None,
    ) -> Items[Outcome[LumeRun]]:
        """Submit requests with bounded concurrency; yield one `Outcome` each, in completion order.

        Requests are pulled only when capacity is available. A failed submission is an outcome and does not end
        the iteration. Leaving the iteration stops submitting and polling; runs that were started keep running.
        An exception raised by the iterable is raised after all outcomes; `SystemExit` and `KeyboardInterrupt` are
        raised at once.

        With a journal, the same call can be repeated after a crash at any point: it submits nothing twice,
        replays the outcomes that were already known, and finishes the rest.

        Args:
            requests: a plain or asynchronous iterable, even endless; with a journal the same requests each time.
            max_active: the maximum number of unfinished runs, including those with unconsumed outcomes.
            journal: the path of the file that records the batch; used by one process at a time.
            retry_failed: submit sources that failed according to the journal again, as new runs.
            on_duplicate: with "raise" a duplicate is an outcome with a `DuplicateRunError`; with "attach" the run
                that holds the source is followed, unless the source has changed since that run read it: then the
                outcome also has the error.
            timeout: seconds (or a `timedelta`) for the whole batch; then submitting stops, each
                unfinished run is an outcome with a `RunTimeoutError`, and another one is raised at the end of the
                iteration if `requests` had not ended. None for no limit. Until then (None: for an hour) a submission
                whose answers are lost is repeated, if the server keeps its idempotency key.
            poll_interval: as in `LumeRun.wait`.

        Raises:
            ConfigurationError: the journal is in use, can't be used, or belongs to a different input or server.
            JournalError: it can no longer be used: a full disk, or damage.
            RunTimeoutError: raised after all outcomes: the timeout passed before the end of `requests`. Its `run` is
                None. The message names the request that was pulled to find out whether there are more.
            ValueError: an argument is not valid; no request was sent.

        Examples:
            >>> requests = [RunRequest("customer_cleaner:v1", path) for path in ("may.csv", "june.csv")]
            >>> async for outcome in client.run_many(requests, journal="batch.db"):
            ...     print(outcome.request.source_path, outcome.error or outcome.run.status)
        """
        from lume_async._batch.run_many import run_many

        return run_many(
            self._sender,
            requests,
            max_active=max_active,
            journal=journal,
            retry_failed=retry_failed,
            on_duplicate=on_duplicate,
            timeout=timeout,
            poll_interval=poll_interval,
        )

    def monitor(self, *, max_in_flight: int = 64, poll_interval: PollInterval = None) -> "lume_async.Monitor":
        """Watch any number of runs continuously; see `Monitor`.

        Args:
            max_in_flight: the maximum number of concurrent polls.
            poll_interval: as in `LumeRun.wait`.

        Examples:
            >>> async with client.monitor(poll_interval=5) as monitor:
            ...     monitor.add(run)
            ...     print(await anext(monitor))
        """
        from lume_async._many.monitor import Monitor

        return Monitor(self._sender, max_in_flight=max_in_flight, poll_interval=poll_interval)

    def list_runs(
        self,
        *,
        flow_version: str | None = None,
        flow: str | None = None,
        source_path: str | None = None,
        source: str | None = None,
        status: RunStatus | str | Collection[RunStatus | str] | None = None,
        since: datetime | Duration | None = None,
        attention: float | None = None,
        submitted_by: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Paged[LumeRun]:
        """Yield the runs that match, newest first; pages are fetched as needed.

        If nothing matches, even because the server lacks the flow or the version, there are none.

        Args:
            flow_version: only runs of this version, such as `customer_cleaner:v1`.
            flow: only runs of this flow, in all its versions.
            source_path: only runs on this source, exactly as it was submitted.
            source: only runs whose source path contains this text; upper and lower case differ.
            status: only runs with this status, or with one of several. A status that this version doesn't know is
                asked for all the same.
            since: only runs created since then: an aware `datetime`, or seconds (or a `timedelta`) ago.
            attention: only runs that wait for a person: the last run of a flow (any version) on a source, if FAILED,
                CRASHED, or PARTIAL_FAILED with more than this share (0 to 1) of its rows rejected.
            submitted_by: only runs submitted with the key of this name.
            limit: the maximum number of runs.
            cursor: where to begin: the cursor of a page, from `pages()` with the same other arguments.

        Raises:
            ValueError: an argument is not valid, or a status is a near miss of a known one.
            InvalidRequestError: no run can have this `flow_version` or `source_path`; no request was sent.
            NotSupportedError: raised by the iteration: the server does not list runs.

        Examples:
            >>> async for run in client.list_runs(flow="customer_cleaner", status="PARTIAL_FAILED", limit=10):
            ...     print(run.id, run.source_path)
        """
        filters = filters_of(
            self._sender,
            flow_version=flow_version,
            flow=flow,
            source_path=source_path,
            source=source,
            submitted_by=submitted_by,
            cursor=cursor,
        )
        if status is not None:
            statuses = [status] if isinstance(status, str) else status
            arguments.several(statuses, "status", "statuses", Collection)
            filters["status"] = [str(wanted_status(one)) for one in statuses]
            if not statuses:
                raise ValueError("status must name a status: an empty collection matches no run")
        if attention is not None:
            share = f"{arguments.number(attention, 'attention', 0, 1):.9f}"
            filters["attention"] = share.rstrip("0").rstrip(".")
        sender = self._sender
        return run_pages(
            sender, filters, lambda record: LumeRun(sender, record.id, record), oldest(sender, since), limit
        )
