"""A task's work from the submission to its final event, for triggers and for blocking operators.

An event is JSON: `{"result": …}` if every run has ended, otherwise `{"error": …, "final": …}`; `final` if a retry
can't help.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from typing import Any, TypeAlias, TypeVar

import anyio

from lume_airflow._batch import Batch
from lume_airflow._connection import ConnectionSettings
from lume_airflow._identity import TaskTry, key_of
from lume_airflow._options import BatchOptions, OperatorOptions, RunOptions
from lume_airflow._results import run_result
from lume_airflow._shared import SharedClient, shared
from lume_airflow._started import cancel_started, runs_by_key
from lume_async import (
    Client,
    ConfigurationError,
    InvalidRequestError,
    LumeError,
    LumeRun,
    RunFailedError,
    RunNotFoundError,
)

Event: TypeAlias = dict[str, Any]
Report: TypeAlias = Callable[[str], object]

T = TypeVar("T")

PATIENCE = 10
"""The number of failed runs of others, one after the other, that held the source before the task fails."""

SEARCHED = 1000
"""The number of runs of a source to search, newest first, for one of ours."""


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine on an event loop of its own, in a new thread if this one already runs a loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def left(deadline: float | None) -> float | None:
    """Return the seconds until the deadline, by the wall clock, as a deadline outlives processes."""
    return None if deadline is None else max(0.0, deadline - time.time())


def failure(error: LumeError) -> Event:
    refused = isinstance(error, (InvalidRequestError, ConfigurationError))
    final = refused and not isinstance(error, RunNotFoundError)
    return {"error": f"{type(error).__name__}: {error}", "final": final}


async def settled(work: Awaitable[Event]) -> Event:
    """Return the event of the work, or that of its error."""
    try:
        return await work
    except LumeError as error:
        return failure(error)


async def begin(client: Client, options: RunOptions, task: TaskTry) -> LumeRun:
    """Submit, and return the run of this try: a new run, an earlier attempt's, or the run that holds the source.

    Raises:
        LumeError: the submission failed; `SubmissionUnknownError` if a run may exist.
    """
    earlier: dict[str, LumeRun] = {}
    if options.forces(task):
        place = {"flow_version": options.flow_version, "source_path": options.source_path}
        earlier = await runs_by_key(client, task.all_keys(), **place, limit=SEARCHED)
    for generation in count():
        key = task.key(generation)
        request = options.request(task, options.source_path, key)
        found = earlier.get(key)
        run = found or await client.run(
            request.flow_version,
            request.source_path,
            request.run_metadata,
            request.force_rerun,
            layout=request.layout,
            idempotency_key=key,
            on_duplicate="attach",
        )
        if not task.needs_next(run, key, generation, found=found is not None):
            return run
    raise AssertionError("count() has no end")


async def follow(
    client: Client,
    wait: Callable[[LumeRun], Awaitable[LumeRun]],
    options: RunOptions,
    task: TaskTry,
    run: LumeRun | None = None,
) -> LumeRun:
    """Wait for the end of the run, in whatever status; return the run.

    Args:
        run: the run submitted by an earlier step.

    Raises:
        LumeError: the submission failed, or the run can't be followed any longer.
    """
    last = run
    for _ in range(PATIENCE):
        last = await wait(run or await begin(client, options, task))
        if last.has_output or key_of(last) in task.all_keys():
            return last
        run = None  # a run of others held the source and left no output: submit again
    raise RunFailedError(
        f"{PATIENCE} runs of others held {options.source_path!r} and left no output", run=last
    )


async def start(settings: ConnectionSettings, options: RunOptions, task: TaskTry) -> LumeRun:
    """Submit the run, without waiting for its end. Raises `LumeError` if the submission failed."""
    async with Client(**settings.client_options()) as client:
        return await begin(client, options, task)


async def run_to_end(
    settings: ConnectionSettings,
    options: RunOptions,
    task: TaskTry,
    *,
    run_id: str | None = None,
    deadline: float | None = None,
) -> Event:
    """Return the final event of one run. An earlier step submitted `run_id`; `deadline`: seconds since the epoch."""
    async with shared(settings) as lume:
        run = None if run_id is None else lume.client.attach(run_id)
        with anyio.move_on_after(left(deadline)):
            last = await follow(lume.client, lume.wait, options, task, run)
            return {"result": run_result(last, settings, task)}
        return await _timed_out(lume, options, task)


async def batch_to_end(
    settings: ConnectionSettings,
    options: BatchOptions,
    task: TaskTry,
    report: Report,
    *,
    deadline: float | None = None,
    since: float | None = None,
) -> Event:
    """Return the final event of a batch. `deadline` and `since` (its earliest start): seconds since the epoch."""
    async with shared(settings) as lume:
        begun = None if since is None else datetime.fromtimestamp(since, UTC)
        batch = Batch(lume.client, options, task, report, begun)
        result = await batch.run(left(deadline))
        event: Event = {"result": result.to_dict()}
        if batch.timed_out:
            return event | await _timed_out(lume, options, task)
        if options.max_failures is not None and result.failed > options.max_failures:
            counts = f"sources without output: {result.failed:,} of {result.sources:,}"
            return event | {"error": f"{counts}; max_failures is {options.max_failures}", "final": False}
        return event


async def wait_to_end(settings: ConnectionSettings, run_id: str, deadline: float | None) -> Event:
    """Return the final event of a run that others have started. `deadline`: seconds since the epoch."""
    async with shared(settings) as lume:
        with anyio.move_on_after(left(deadline)):
            last = await lume.wait(lume.client.attach(run_id))
            return {"result": run_result(last, settings, TaskTry("", "", ""))}
        return {"error": f"{run_id} did not end in time", "final": False, "timed_out": True}


async def cancel(
    settings: ConnectionSettings, options: OperatorOptions, task: TaskTry, *, sure: bool
) -> list[str]:
    """Cancel the runs that the task has started, with a client of its own: the shared one may be closing."""
    async with Client(**settings.client_options()) as client:
        return await cancel_started(client, options, task, sure=sure)


async def _timed_out(lume: SharedClient, options: OperatorOptions, task: TaskTry) -> Event:
    message = f"not ended within {options.timeout:,.0f} s" if options.timeout else "not ended in time"
    if not options.cancel_on_kill:
        return {"error": f"{message}; the runs keep running", "final": False}
    cancelled = await cancel_started(lume.client, options, task, sure=False)
    return {"error": f"{message}; cancelled {', '.join(cancelled) or 'nothing'}", "final": False}
