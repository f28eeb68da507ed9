"""A single run of a task, from its submission to its end, over any number of restarts."""

from collections.abc import Awaitable, Callable
from itertools import count

from lume_airflow._identity import TaskTry, key_of
from lume_airflow._options import RunOptions
from lume_airflow._started import runs_by_key
from lume_async import Client, LumeRun, RunFailedError

PATIENCE = 10
"""The number of failed runs of others, one after the other, that held the source before the task fails."""

SEARCHED = 1000
"""The number of runs of a source to search, newest first, for one of ours."""


async def begin(client: Client, options: RunOptions, task: TaskTry) -> LumeRun:
    """Submit, and return the run of this try: a new run, an earlier attempt's, or the run that holds the source.

    Raises:
        LumeError: the submission failed; `SubmissionUnknownError` if a run may exist.
    """
    earlier = await _earlier(client, options, task)
    for generation in count():
        key = task.key(generation)
        request = options.request(task, options.source_path, key)
        found = earlier.get(key)
        run = found or await client.run(
            request.flow_version,
            request.source_path,
            request.run_metadata,
            request.force_rerun,
            idempotency_key=key,
            on_duplicate="attach",
        )
        if not task.needs_next(run, key, generation, found=found is not None):
            return run
    raise AssertionError("count() has no end")


async def _earlier(client: Client, options: RunOptions, task: TaskTry) -> dict[str, LumeRun]:
    if not options.forces(task):
        return {}
    place = {"flow_version": options.flow_version, "source_path": options.source_path}
    return await runs_by_key(client, task.all_keys(), **place, limit=SEARCHED)


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
