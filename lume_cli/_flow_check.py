"""Checking a flow file the way the embedded server does, and saying in which line a mistake is."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from lume_async import ConfigurationError
from lume_local import CheckedFlow, FlowError, check_flow

__all__ = ["CheckedFlow", "FlowError", "check", "files", "line_of", "located"]


def files(given: Iterable[Path]) -> Iterator[Path]:
    """The flow files; a folder stands for those in it.

    Raises:
        click.ClickException: a folder has none.
    """
    for path in given:
        if not path.is_dir():
            yield path
            continue
        if not (found := sorted(path.glob("*.toml"))):
            raise click.ClickException(f"there are no flow files (*.toml) in the folder {path}")
        yield from found


async def check(path: Path) -> CheckedFlow:
    """The flow of a file without mistakes.

    Raises:
        FlowError: it has a mistake.
        click.ClickException: the file can't be read, or not be checked.
    """
    try:
        return await check_flow(path)
    except OSError as error:
        raise click.ClickException(f"{path} can't be read: {error.strerror or error}") from None
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None


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
