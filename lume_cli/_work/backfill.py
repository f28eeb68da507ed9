"""A batch under way: outcomes counted, shown, summed up. What `backfill` is made of."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from lume_async import (
    Client,
    DuplicateRunError,
    Event,
    LumeError,
    LumeRun,
    OnDuplicate,
    Outcome,
    RequestFinished,
    RunRequest,
    Summary,
)
from lume_cli._output import errors, exit_codes
from lume_cli._output import runs as _runs
from lume_cli._output.live import clock, live_line
from lume_cli._session import Session
from lume_cli._work.early_stop import Hope
from lume_cli._work.source_paths import Paths
from lume_cli._work.wait import counts

_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""
_BAR = 20


class Backfill:
    """One batch.

    Args:
        session: the command.
        paths: what to run.
        total: how many there are, if that is known.
    """

    def __init__(self, session: Session, paths: Paths, total: int | None, *, allow_partial: bool) -> None:
        self.summary = Summary()
        self._session = session
        self._paths = paths
        self._total = total
        self._allow_partial = allow_partial
        self._taken = 0
        self._codes: set[int] = set()
        self._stop: LumeError | None = None
        self._trouble: str | None = None
        self._began = time.monotonic()

    def heard(self, event: Event) -> None:
        """A hook: whether the server answers."""
        if isinstance(event, RequestFinished):
            failed = (event.status_code or 0) >= 500
            self._trouble = event.error or (f"status {event.status_code}" if failed else None)

    @property
    def unfinished(self) -> int:
        """How many runs were begun whose end was not seen."""
        return self._taken - self.summary.outcomes

    async def until_ended(
        self,
        client: Client,
        *,
        max_active: int,
        journal: str | None,
        retry_failed: bool,
        on_duplicate: OnDuplicate,
        timeout: float | None,
    ) -> int:
        """Run everything; the exit code."""
        requests = self._paths.requests()
        counted = self._counted(requests) if isinstance(requests, Iterator) else self._counted_later(requests)
        outcomes = client.run_many(
            counted,
            max_active=max_active,
            journal=journal,
            retry_failed=retry_failed,
            on_duplicate=on_duplicate,
            timeout=timeout,
        )
        hope = Hope(has_journal=journal is not None)
        lively = self._session.say.is_lively
        lines = None if lively else asyncio.ensure_future(self._keep_telling())
        with live_line(self._session.say, self._progress):
            try:
                async for outcome in outcomes:
                    self._take(outcome)
                    self._stop = self._stop or hope.stop(outcome)
                    if self._stop is not None and not self.unfinished:
                        break
                if self._stop is not None:
                    raise self._stop
            except Exception:  # the input or the journal broke, or no hope is left: what came before counts
                if self.summary.outcomes and not (self._stop and len(self.summary.statuses) == 1):
                    self._tell_summary(journal, retry_failed)
                raise
            finally:
                if lines is not None:
                    lines.cancel()
        if not lively and self._taken:
            self._session.say.note(self._progress())
        if not self._taken:
            self._session.say.note("no source paths in the list: nothing to do")
        self._tell_summary(journal, retry_failed)
        return exit_codes.worst(self._codes)

    def _counted(self, requests: Iterator[RunRequest]) -> Iterator[RunRequest]:
        for request in requests:
            self._go_on()
            self._taken += 1
            yield request

    async def _counted_later(self, requests: AsyncIterator[RunRequest]) -> AsyncIterator[RunRequest]:
        async for request in requests:
            self._go_on()
            self._taken += 1
            yield request
        self._total = self._taken

    def _go_on(self) -> None:
        """Not where no hope is left. Submissions under way end first: a journal must know what came of each."""
        if self._stop is not None:
            raise self._stop

    def _take(self, outcome: Outcome[LumeRun]) -> None:
        self.summary.add(outcome)
        if outcome.error is not None:
            self._codes.add(exit_codes.of_error(outcome.error))
        elif outcome.run is not None:
            self._codes.add(exit_codes.of_status(outcome.run.status, allow_partial=self._allow_partial))
        if self._session.data.format == "ndjson":
            self._session.data.document(to_dict(outcome))

    async def _keep_telling(self) -> None:
        """Where there is no display: a line now and then, also while nothing ends."""
        while True:
            await asyncio.sleep(_EVERY)
            self._session.say.note(self._progress())

    def _tell_summary(self, journal: str | None, retry_failed: bool) -> None:
        say, data, text = self._session.say, self._session.data, errors.in_options(str(self.summary))
        described = self.summary.to_dict()
        for failure in described["failures"]:
            failure["message"] = errors.in_options(failure["message"])
        if data.format == "json":
            data.document(described)
        elif data.format == "ndjson":  # the failures are lines of stdout already
            say.told("summary", text, **{name: it for name, it in described.items() if name != "failures"})
        elif self._taken:
            data.text(text)
        if self.summary.statuses[DuplicateRunError.__name__]:
            new = "" if journal is None else " (that one with a new --journal)"
            say.note(
                "  hint: --on-duplicate attach follows the runs that hold these sources; --force-rerun processes "
                f"again what was processed, not what is being processed{new}"
            )
        if journal is not None and not retry_failed and self._codes & {exit_codes.FAILED, exit_codes.CRASHED}:
            say.note("  hint: the same command with --retry-failed runs what failed once more")

    def _progress(self) -> str:
        done, passed = self.summary.outcomes, time.monotonic() - self._began
        rate = (done - self.summary.remembered) / passed if passed > 0 else 0.0
        parts = []
        if self._total is None:
            parts.append(f"{done:,} ended")
        else:
            if self._session.say.is_lively and self._session.say.console.width >= 100:
                parts.append(bar(done, self._total))
            parts.append(f"{done:,} of {self._total:,} ended")
        parts[-1] += counts(self.summary.statuses)
        if self.unfinished > 0:
            parts.append(f"{self.unfinished:,} active")
        if self._trouble is not None:
            parts.append(f"the server does not answer ({self._trouble}): waiting for it")
        elif rate:
            parts.append(f"{rate:.1f}/s")
        if rate and self._total is not None and done < self._total:
            parts.append(f"ETA {clock((self._total - done) / rate)}")
        return "  ".join(parts)


def bar(done: int, total: int) -> str:
    """`[#####---------------]`."""
    filled = _BAR * done // total if total else _BAR
    return f"[{'#' * filled}{'-' * (_BAR - filled)}]"


def to_dict(outcome: Outcome[LumeRun]) -> dict[str, Any]:
    """An outcome for a script: the source, and either the run or the error."""
    request = outcome.request
    described: dict[str, Any] = {
        "source_path": request.source_path if request else None,
        "run_id": outcome.run_id,
        "run": None if outcome.run is None else _runs.to_dict(outcome.run),
    }
    error = None if outcome.error is None else errors.to_dict(outcome.error)["error"]
    return {**described, "error": error}
