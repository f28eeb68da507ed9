"""Run ids from the command line and, for `-`, from stdin, one per line; the same request for each of them."""

import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import click

from lume_async import ApiError, Client, InvalidRequestError, LumeError
from lume_async._base.tasks import task_group
from lume_async._base.words import counted
from lume_async.models import check_run_id
from lume_cli._output import exit_codes
from lume_cli._output.text import may_be_short, shorts, stands_for
from lume_cli._session import CommandSession

MOST = 100_000
"""The maximum number of distinct ids in one command; bounds an endless stream."""
_LONGEST_LINE = 4096
_NEWEST, _SEARCHED = 1000, 20_000
"""The number of runs to search for short ids: at first, and at most."""
_AT_ONCE = 64
"""The maximum number of concurrent requests: more would only wait for a connection."""

Answer = TypeVar("Answer")


def run_ids(session: CommandSession, given: Sequence[str]) -> list[str]:
    """Return the distinct ids in input order, after reading stdin to its end. Raises `click.UsageError`."""
    found: dict[str, None] = {}
    for one in given:
        for run in _from_stdin(session) if one == "-" else (one,):
            found[run] = None
            if len(found) > MOST:
                raise click.UsageError(f"more than {MOST:,} runs: pass fewer at a time")
    if not found:
        session.say.note("no run ids on stdin; nothing to do")
    return list(found)


async def whole_ids(client: Client, given: Sequence[str]) -> list[str]:
    """Replace each short id by the full one, if there is one. Raises `click.UsageError` if it matches several runs.

    A short id is searched for among the newest runs, and further back only if it is not found there.
    """
    open_, matches = {one for one in given if may_be_short(one)}, dict[str, set[str]]()
    if not open_:
        return list(given)
    try:
        number = 0
        async for run in client.list_runs(limit=_SEARCHED):
            for one in open_:
                if stands_for(one, run.id):
                    matches.setdefault(one, set()).add(run.id)
            number += 1
            if number % _NEWEST == 0 and len(matches) == len(open_):
                break
    except ApiError as error:
        if error.status_code not in (404, 405, 501):  # a server that can't list runs accepts whole ids only
            raise
    for one, found in matches.items():
        if len(found) > 1 and one not in found:
            longer = ", ".join(sorted(shorts(found).values())[:5])
            raise click.UsageError(
                f"{one} matches {counted(len(found), 'run')}: {longer}; pass more characters"
            )
    whole = {one: one if one in found else next(iter(found)) for one, found in matches.items()}
    return list(dict.fromkeys(whole.get(one, one) for one in given))


async def each(
    session: CommandSession, ids: Sequence[str], request: Callable[[str], Awaitable[Answer]]
) -> tuple[list[Answer], list[int]]:
    """Send the same request for several runs concurrently; a failure does not affect the others.

    Return the answers in the order of `ids`, and the exit codes of failures, which are reported on stderr.
    """
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


def _from_stdin(session: CommandSession) -> Iterator[str]:
    if session.options.api_key_stdin:
        raise click.UsageError("stdin can't supply both the API key and the run ids: use LUME_API_KEY")
    if sys.stdin.isatty():
        session.say.note("reading run ids from the terminal, one per line; Ctrl-D to finish")
    number = 0
    while line := sys.stdin.buffer.readline(_LONGEST_LINE):
        number += 1
        text = line.decode("utf-8-sig", "replace").strip()
        if text and not text.startswith("#"):
            try:
                yield check_run_id(text)
            except InvalidRequestError as error:
                raise click.UsageError(f"stdin:{number}: {error} (-o ids prints ids)") from None
