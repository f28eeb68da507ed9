"""What a killed task leaves behind: nothing, where its author wants that."""

import anyio

from lume_airflow._identity import TaskTry, key_of
from lume_airflow._options import Options
from lume_async import Client, LumeError, LumeRun

ACTIVE = ("CREATED", "SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET")

ROUNDS = 3
"""A submission that was cut off may still arrive: so often is looked, a second apart, until nothing is found."""


async def cancel_started(client: Client, options: Options, task: TaskTry, *, sure: bool) -> list[str]:
    """Cancel the runs that this task has started and that have not ended; returns their ids.

    Runs that it found and did not start are left alone: somebody else waits for them. So are those of a later try,
    which Airflow may have begun by now: a task that is cleared runs again within the second.

    Args:
        sure: whether no submission was cut off, so that looking once is enough.

    Raises:
        LumeError: they can't be listed, or one can't be cancelled; the others are.
    """
    cancelled: list[str] = []
    failed: list[LumeError] = []
    source, keys = getattr(options, "source_path", None), options.keys(task)
    for turn in range(1 if sure else ROUNDS):
        if turn:
            await anyio.sleep(1)
        runs = client.list_runs(flow_version=options.flow_version, source_path=source, status=ACTIVE)
        async with anyio.create_task_group() as tasks:
            async for run in runs:
                if key_of(run) in keys and run.id not in cancelled:
                    cancelled.append(run.id)
                    tasks.start_soon(_cancel, run, failed)
    if failed:
        raise failed[0]
    return cancelled


async def _cancel(run: LumeRun, failed: list[LumeError]) -> None:
    try:
        await run.cancel()
    except LumeError as error:
        failed.append(error)
