"""The rule by which content is processed once: finds its earlier runs, and makes the key that lets only one start."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime

from lume_async._http.sender import Sender
from lume_async._run.pages import run_pages
from lume_async._run.state import RunState, record_of
from lume_async._run.submit import StartedRun
from lume_async._wire.endpoints import Filters
from lume_async.errors import NotSupportedError


async def earlier_runs(
    sender: Sender,
    filters: Filters,
    has_content: Callable[[RunState], bool],
    oldest: datetime | None = None,
) -> list[RunState]:
    """Return the matching runs with that content, newest first; empty if the server can't list runs."""
    try:
        async with run_pages(sender, filters, lambda record: RunState(record.id, record), oldest) as found:
            return [run async for run in found if has_content(run)]
    except NotSupportedError:
        return []


def holder(earlier: Sequence[RunState]) -> StartedRun | None:
    """Return the newest run that is processing the content or has done so; one that wrote nothing may be repeated."""
    for run in earlier:
        record = record_of(run)
        if record is not None and (not run.is_terminal or run.has_output):
            return StartedRun(record, reused=True)
    return None


def key_of(kind: str, content: str, earlier: Sequence[RunState]) -> str:
    """Return the idempotency key of the next submission: two concurrent ones start one run."""
    return f"{kind}-{hashlib.sha256(f'{content} {len(earlier)}'.encode()).hexdigest()}"
