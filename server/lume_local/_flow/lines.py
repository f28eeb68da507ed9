"""Mistakes in files: their lines, which the TOML parser does not keep, and how all of them are reported."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lume_async.errors import ConfigurationError
from lume_local._flow.fields import FlowError
from lume_local._shared.saved import text_of

T = TypeVar("T")


def read_settings(path: Path, what: str, read: Callable[[str], T]) -> T:
    """What `read` makes of the text of a file. Raises `ConfigurationError`, which begins with `what` the file is.

    It names all mistakes; then its cause is the `FlowError` that `read` has raised.
    """
    text = text_of(path, f"{what}: ")
    try:
        return read(text)
    except FlowError as error:
        mistakes = "\n".join(one.located(path) for one in (error, *error.others))
        raise ConfigurationError(f"{what}: {mistakes}") from error


def with_line(error: FlowError, text: str) -> FlowError:
    """Add the line of the mistake to the error, if it can be found."""
    if error.place:
        error.line = line_of(error.place, text)
    elif found := re.search(r"\(at line (\d+), column \d+\)", error.problem):
        error.line = int(found[1])
    return error


_HEADER = re.compile(r"\s*(\[\[?)(.+?)\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""\s*("[^"]*"|'[^']*'|[\w.-]+)\s*=""")


def line_of(place: str, text: str) -> int | None:
    """The line that a place such as `columns.email.pattern` or `rules[0].sql` stands in, as far as it is known."""
    wanted, best = _spelled(_names(place)), None
    within: str | None = wanted  # what is wanted of the present table, None of another one
    entries: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            name = header[2].strip()
            names = _names(name)
            if header[1] == "[[":
                names = [name] if _spelled([name]) == wanted else [name, str(entries.get(name, 0))]
                entries[name] = entries.get(name, 0) + 1
            within = below = _below(_spelled(names), wanted)
        elif within and (key := _KEY.match(line)):
            below = _below(_spelled(_names(key[1])), within)
        else:
            continue
        if below is not None:
            best = number
        if below == "":
            break
    return best


def _below(place: str, wanted: str) -> str | None:
    """What is left of `wanted` in that place; None if it is elsewhere."""
    return wanted[len(place) :] if place and wanted.startswith(place) else None


def _spelled(names: list[str]) -> str:
    """As places have it, which do not quote a name with dots; each name has a dot at its end."""
    return "".join(f"{name}." for name in names)


def _names(path: str) -> list[str]:
    """`columns."a.b".sql` as its parts; an index counts as one."""
    parts = re.findall(r""""([^"]*)"|'([^']*)'|\[(\d+)\]|([^.\[\]"']+)""", path)
    return [next(filter(None, part), "").strip() for part in parts]
