"""Sends the same request for several runs concurrently; a failure does not affect the others."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from lume_async import LumeError
from lume_async._base.tasks import task_group
from lume_cli._output import exit_codes
from lume_cli._session import CommandSession

_AT_ONCE = 64
"""The maximum number of concurrent requests: more would only wait for a connection."""


Answer = TypeVar("Answer")


async def each(
    session: CommandSession, ids: Sequence[str], request: Callable[[str], Awaitable[Answer]]
) -> tuple[list[Answer], list[int]]:
    """Return the answers in the order of `ids`, and the exit codes of failures, which are reported on stderr."""
    answers: dict[str, Answer | LumeError] = {}
    waiting = iter(ids)

    async def worker() -> None:
        for run_id in waiting:
            try:
                answers[run_id] = await request(run_id)
            except LumeError as error:
                answers[run_id] = error

    async with task_group() as workers:
        for _ in range(min(_AT_ONCE, len(ids))):
            workers.start_soon(worker)
    found, codes = [], []
    for run_id in ids:
        answer = answers[run_id]
        if isinstance(answer, LumeError):
            codes.append(exit_codes.of_error(answer))
            session.say.error(answer, subject=run_id if len(ids) > 1 else None)
        else:
            found.append(answer)
    return found, codes
