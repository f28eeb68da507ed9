"""The same request for each of several runs, at the same time; one that fails disturbs no other."""

from collections.abc import Awaitable, Callable, Sequence

import anyio

from lume_async import LumeError, LumeRun
from lume_cli._output import exit_codes
from lume_cli._session import Session

_AT_ONCE = 64
"""Requests: more would wait for a connection."""


async def each(
    session: Session, ids: Sequence[str], request: Callable[[str], Awaitable[LumeRun]]
) -> tuple[list[LumeRun], list[int]]:
    """The runs that were answered, in the order of `ids`, and the exit codes of the others, which are told."""

    async def one(run_id: str) -> LumeRun | LumeError:
        try:
            return await request(run_id)
        except LumeError as error:
            return error

    answers: dict[str, LumeRun | LumeError] = {}
    waiting = iter(ids)

    async def worker() -> None:
        for run_id in waiting:
            answers[run_id] = await one(run_id)

    async with anyio.create_task_group() as workers:
        for _ in range(min(_AT_ONCE, len(ids))):
            workers.start_soon(worker)
    found, codes = [], []
    for run_id in ids:
        answer = answers[run_id]
        if isinstance(answer, LumeRun):
            found.append(answer)
        else:
            codes.append(exit_codes.of_error(answer))
            session.say.error(answer, subject=run_id if len(ids) > 1 else None)
    return found, codes
