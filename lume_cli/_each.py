"""The same request for each of several runs, at the same time; one that fails disturbs no other."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from lume_async import LumeError, LumeRun
from lume_cli import _exits
from lume_cli._session import Session


async def each(
    session: Session, ids: Iterable[str], request: Callable[[str], Awaitable[LumeRun]]
) -> tuple[list[LumeRun], list[int]]:
    """The runs that were answered, in the order of `ids`, and the exit codes of the others, which are told."""

    async def one(run_id: str) -> LumeRun | LumeError:
        try:
            return await request(run_id)
        except LumeError as error:
            return error

    wanted = list(dict.fromkeys(ids))
    answers = await asyncio.gather(*map(one, wanted))
    found, codes = [], []
    for run_id, answer in zip(wanted, answers, strict=True):
        if isinstance(answer, LumeRun):
            found.append(answer)
        else:
            codes.append(_exits.of_error(answer))
            session.say.error(answer, subject=run_id if len(wanted) > 1 else None)
    return found, codes
