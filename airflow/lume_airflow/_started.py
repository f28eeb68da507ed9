"""The runs started by a task: found again by their keys, and cancelled if the task is killed.

Servers may not support or keep idempotency keys. Such a server refuses a duplicate, but with
`force_rerun` it would start a second run: so the list of runs is checked first.
"""

from collections.abc import Collection
from typing import Any

import anyio

from lume_airflow._identity import TaskTry, key_of
from lume_airflow._options import OperatorOptions
from lume_async import ApiError, Client, LumeError, LumeRun

ACTIVE = ("CREATED", "SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET")

ROUNDS = 3
"""The number of times to list the runs, a second apart: an interrupted submission may still arrive."""


NO_LIST = (405, 501)
"""The statuses of a server that accepts submissions at that path but has no list; a 404 comes from a gateway."""


async def runs_by_key(client: Client, keys: Collection[str], **filters: Any) -> dict[str, LumeRun]:
    """Return the matching runs that have one of these keys; empty if the server has no list."""
    found: dict[str, LumeRun] = {}
    try:
        async for run in client.list_runs(**filters):
            key = key_of(run)
            if key in keys:
                found.setdefault(str(key), run)
                if len(found) == len(keys):
                    break
    except ApiError as error:
        if error.status_code not in NO_LIST:
            raise
    return found


async def cancel_started(client: Client, options: OperatorOptions, task: TaskTry, *, sure: bool) -> list[str]:
    """Cancel the unfinished runs that this task has started; return their IDs.

    Runs that it only found are not cancelled: others wait for them. Nor are the runs of a later try: a cleared task
    may run again within a second.

    Args:
        sure: whether no submission was interrupted, so that listing the runs once is enough.

    Raises:
        LumeError: the runs can't be listed, or one can't be cancelled; the others are cancelled.
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
