"""`LookUp`: finds the run of a submission whose response was lost, in the server's list of runs."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from attrs import evolve

from lume_async._batch.entries import canonical
from lume_async._batch.recovery import Found
from lume_async._http.sender import Sender
from lume_async._run.pages import RUNS
from lume_async._wire import endpoints
from lume_async._wire.call import CallState
from lume_async._wire.lost_answers import is_new, is_ours
from lume_async.errors import ApiError
from lume_async.models import RunRecord, RunRequest

PAGES = 20
"""The maximum number of pages to read of a source's new runs."""

LAG = 60.0
"""Seconds that the clock of `created_at` may be behind the one of the `Date` header, such as a gateway's."""

_NO_LIST = (404, 405, 501)
"""Statuses of a server that accepts submissions but has no list. A gateway without its service sends 404, too: it
then answers a submission in the same way, which proves nothing either."""


class LookUp:
    """Finds the runs of lost submissions.

    Args:
        left: returns the seconds that a request may take; None for no limit.
    """

    def __init__(
        self,
        sender: Sender,
        known_runs: Callable[[], Awaitable[set[str]]],
        left: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._sender = sender
        self._read_known_runs = known_runs
        self._left = left
        self._known_runs: set[str] | None = None
        self._reading = asyncio.Lock()
        self._claimed: Counter[str] = Counter()
        self._has_list = False

    def claim(self, run_id: str) -> None:
        """Mark the run as belonging to an item."""
        self._claimed[run_id] += 1

    def is_claimed(self, run_id: str) -> bool:
        """Return whether the run belongs to an item."""
        return self._claimed[run_id] > 0 or run_id in (self._known_runs or ())

    def release(self, run_id: str) -> None:
        """Undo a `claim`: the run may belong to another item, which may have claimed it meanwhile."""
        self._claimed[run_id] -= 1

    async def find(self, request: RunRequest, key: str, state: CallState) -> Found:
        """Find and claim the run that the submission may have started: by key, or by source, time and metadata."""
        service = self._sender.service
        if service.find is None and not service.promises.refuses_sources:
            return Found(None, is_clear=False)  # no list that shows it, or one that lags behind
        try:
            if service.find is not None:
                runs = await self._sender.send(service.find(request, key), timeout=self._left())
                return Found(runs[0] if runs else None, is_clear=True)
            fitting, all_read = await self._fitting(request, state)
        except ApiError as error:
            no_list = error.status_code in _NO_LIST and not self._has_list and service.find is None
            return Found(None, is_clear=no_list, failure=error)
        if fitting:
            async with self._reading:  # only once, even if many items ask at the same time
                if self._known_runs is None:
                    self._known_runs = await self._read_known_runs()
        left = [run for run in fitting if not self.is_claimed(run.id)]
        since = self._sender.sent_at(state)
        new = [run for run in left if is_new(run, since)]
        if not all_read or len(new) > 1:
            return Found(None, is_clear=False)
        if not new:
            return Found(None, is_clear=not left)
        self.claim(new[0].id)
        return Found(new[0], is_clear=True)

    async def _fitting(self, request: RunRequest, state: CallState) -> tuple[list[RunRecord], bool]:
        """Return the matching runs, newest first, including slightly older ones; and whether all pages were read."""
        filters = {"source_path": request.source_path, "limit": str(RUNS)}
        fitting: list[RunRecord] = []
        cursor: str | None = None
        for _ in range(PAGES):
            page = await self._sender.send(endpoints.runs(filters, cursor), timeout=self._left())
            self._has_list = True
            sent = self._sender.sent_at(state)
            since = None if sent is None else sent - LAG
            fitting += [run for run in page.items if _fits(run, request) and is_ours(run, request, since)]
            cursor = page.cursor
            if cursor is None or (page.items and not is_new(page.items[-1], since)):
                return fitting, True
        return fitting, False


def likeness(request: RunRequest) -> bytes:
    """Return a value that is equal for requests whose runs can't be distinguished in a list."""
    return canonical(evolve(request, idempotency_key=None, webhook_url=None, priority=0))


def _fits(run: RunRecord, request: RunRequest) -> bool:
    """Return whether source and flow match: the server may ignore the filters, or return a more complete version."""
    raw = run.raw
    version = raw.get("flow_version")
    asked = request.flow_version
    return (
        raw.get("source_path") == request.source_path
        and (version == asked or str(version).startswith(f"{asked}:"))
        and raw.get("force_rerun") in (None, request.force_rerun)
    )
