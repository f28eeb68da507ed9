"""Checking a flow file the way the embedded server does: its parser, then DuckDB in a worker process.

The only file here that knows `lume_local` from within.
"""

import re
from pathlib import Path

import click

from lume_local._fields import FlowError
from lume_local._flow import Flow, read_toml
from lume_local._pool import Pool, WorkerDied

__all__ = ["Flow", "FlowError", "check", "line_of", "located"]


async def check(path: Path) -> Flow:
    """The flow of a file without mistakes.

    Raises:
        FlowError: it has a mistake.
        click.ClickException: the file can't be read, or not be checked.
    """
    flow = _read(path)
    pool = Pool()
    try:
        await pool.check(flow.definition)
    except WorkerDied as error:
        raise click.ClickException(f"{path} can't be checked: {error}") from None
    finally:
        await pool.close()
    return flow


def _read(path: Path) -> Flow:
    try:
        return read_toml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError) as error:
        reason = (
            (error.strerror or str(error)) if isinstance(error, OSError) else f"it is not UTF-8 ({error})"
        )
        raise click.ClickException(f"{path} can't be read: {reason}") from None


def line_of(place: str, text: str) -> int | None:
    """The line that a place such as `columns.email.pattern` or `rules[0].sql` stands in, as far as it is known."""
    lines, best, wanted = text.splitlines(), None, _names(place)
    table: list[str] = []
    rules = -1
    for number, line in enumerate(lines, 1):
        header = re.match(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(#.*)?$", line)
        if header and header[1] == "[[":
            rules += 1
            table = [header[2], str(rules)]
        elif header:
            table = _names(header[2])
        key = re.match(r"""\s*("[^"]*"|'[^']*'|[\w.-]+)\s*=""", line)
        here = table if header else [*table, *_names(key[1])] if key else None
        if here and here == wanted[: len(here)] and (header or here == wanted or len(here) > len(table)):
            best = number
            if here == wanted:
                break
    return best


def _names(path: str) -> list[str]:
    """`columns."a.b".sql` as its parts; an index counts as one."""
    parts = re.findall(r""""([^"]*)"|'([^']*)'|\[(\d+)\]|([^.\[\]"']+)""", path)
    return [next(filter(None, part), "").strip() for part in parts]


def located(path: Path, error: FlowError) -> str:
    """`file:line: place: problem`."""
    line = line_of(error.place, path.read_text(encoding="utf-8")) if error.place else None
    if not error.place and (found := re.search(r"\(at line (\d+), column \d+\)", error.problem)):
        line = int(found[1])
    where = f"{path}:{line}" if line else f"{path}"
    return f"{where}: {error.place}: {error.problem}" if error.place else f"{where}: {error.problem}"
