"""Waiting for many runs: one outcome each, in completion order (`as_completed`) or in input order (`wait_all`)."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from copy import copy
from functools import partial

from anyio.streams.memory import MemoryObjectSendStream

from lume_async._base.backoff import LAST_POLL, PollInterval, polling
from lume_async._base.batched import Chunked, Items, all_runs, take_ready
from lume_async._base.duration import Duration, optional_seconds
from lume_async._base.tasks import task_group
from lume_async._http.sender import Sender
from lume_async._many.monitor import QUEUED, Monitor, handle_of
from lume_async._many.owned import owned
from lume_async._run.handle import LumeRun
from lume_async.errors import ApiError, RunTimeoutError
from lume_async.models import Outcome, RunEvent, RunRequest


def as_completed(
    sender: Sender, runs: Iterable[LumeRun | str], *, timeout: Duration | None, poll_interval: PollInterval
) -> Items[Outcome[LumeRun]]:
    """Return one outcome per item of `runs`, in completion order; repeated runs are polled once."""
    handles = [handle_of(sender, run) for run in all_runs(runs)]
    polling(poll_interval)  # raises for a bad argument before the first step
    limit = optional_seconds(timeout, "timeout")
    return Chunked(owned(partial(_completions, sender, handles, limit, poll_interval), take=list))


async def wait_all(
    sender: Sender, runs: Iterable[LumeRun | str], *, timeout: Duration | None, poll_interval: PollInterval
) -> list[Outcome[LumeRun]]:
    """Return one outcome per item of `runs`, in their order."""
    items = all_runs(runs)
    found: dict[str, list[Outcome[LumeRun]]] = {}
    async for outcome in as_completed(sender, items, timeout=timeout, poll_interval=poll_interval):
        found.setdefault(outcome.run_id or "", []).append(outcome)
    return [found[item if isinstance(item, str) else item.id].pop() for item in items]


async def _completions(
    sender: Sender,
    handles: list[LumeRun],
    timeout: float | None,
    poll_interval: PollInterval,
    outcomes: MemoryObjectSendStream[list[Outcome[LumeRun]]],
) -> None:
    """Send the outcome of each handle, in completion order."""
    waiting = Counter(handle.id for handle in handles)
    handle_of = {handle.id: handle for handle in reversed(handles)}
    async with Monitor(sender, poll_interval=poll_interval) as monitor, task_group() as alarm:
        for handle in handle_of.values():
            monitor.add(handle)
        if timeout is not None:
            alarm.start_soon(finish_after, monitor, timeout)
        while waiting and (first := await anext(monitor, None)) is not None:
            chunk = [
                outcome_of(event)
                for event in [first, *take_ready(monitor, QUEUED)]
                if event.error is not None or event.run.is_terminal
                for _ in range(waiting.pop(event.run.id, 0))
            ]
            if chunk:
                await outcomes.send(chunk)
        late = {run_id: last_error(monitor, run_id) for run_id in waiting}
        alarm.cancel_scope.cancel()
    for run_id, error in late.items():
        run, times = handle_of[run_id], range(waiting[run_id])
        await outcomes.send([Outcome(run_id, error=too_late(run, timeout, error)) for _ in times])


def outcome_of(event: RunEvent[LumeRun], request: RunRequest | None = None) -> Outcome[LumeRun]:
    """Return the outcome of a run's last event; each reader gets its own copy of an exception."""
    if event.error is not None:
        return Outcome(event.run.id, error=copy(event.error), request=request)
    return Outcome(event.run.id, run=event.run, request=request)


def too_late(run: LumeRun, timeout: float | None, last_error: ApiError | None) -> RunTimeoutError:
    """Return the error for a run that had not ended at the deadline; `timeout` in seconds."""
    seen = f"(status: {run.status}); it keeps running" if run.status else "(status: never seen)"
    reason = f"; the last error was: {last_error}" if last_error else ""
    error = RunTimeoutError(f"run {run.id} did not end within {timeout:g} s {seen}{reason}", run=run)
    error.__cause__ = last_error
    return error


def last_error(monitor: Monitor, run_id: str) -> ApiError | None:
    """Return the last polling error of an unfinished run; before its first successful poll, that of any run."""
    watched = monitor._watched.get(run_id)
    if watched is None:
        return None
    return watched.last_error or (None if watched.polls else monitor._last_error)


async def finish_after(
    monitor: Monitor, timeout: float, before: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Call `before` at the deadline, poll each run once more, unless the server asked for a pause; end the events."""
    clock = monitor._sender.clock
    monitor._end_of_polls = clock.now() + timeout + LAST_POLL  # also of one that is then under way
    await clock.sleep(timeout)
    if before is not None:
        await before()
    monitor._deadline = clock.now()
    monitor._end_of_polls = monitor._deadline + LAST_POLL
    await monitor._scheduler.last_round(2 * LAST_POLL)  # so that polls end by their own limit, with an error
    monitor._send.close()
