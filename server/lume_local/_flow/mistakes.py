"""The mistakes of a file: their lines, which the TOML parser does not keep, and the report of all at once."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lume_async.errors import ConfigurationError
from lume_local._flow.fields import FlowError, Table, toml_of
from lume_local._shared.saved import text_of

T = TypeVar("T")


class Mistakes:
    """The mistakes of a text, each once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: dict[tuple[str, str], FlowError] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, mistake: FlowError) -> None:
        for one in (mistake, *mistake.others):
            self._found.setdefault((one.place, one.problem), with_line(one, self._text))

    def noting(self, read: Callable[[], T], instead: T) -> T:
        """Return the result of `read`, or `instead` if it finds a mistake."""
        try:
            return read()
        except FlowError as mistake:
            self.add(mistake)
            return instead

    def check(self) -> None:
        """Raise the first mistake by its line, with the `others`, if there are any."""
        if self._found:
            first, *others = sorted(self._found.values(), key=lambda mistake: mistake.line or math.inf)
            first.others = tuple(others)
            raise first


def top_table(text: str) -> Table:
    """Return the tables of a TOML file. Raises `FlowError`."""
    try:
        return Table("", toml_of(text))
    except FlowError as error:
        raise with_line(error, text) from None


def read_settings(path: Path, what: str, read: Callable[[str], T]) -> T:
    """Apply `read` to the text of a file. Raises `ConfigurationError`, which begins with `what` the file is.

    The error names all mistakes; its cause is the `FlowError` that `read` raised.
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
    """Return the line of a place such as `columns.email.pattern` or `rules[0].sql`, if it is known."""
    wanted, best, inner = _spelled(_names(place)), None, None
    within: str | None = wanted  # the part to find in the present table, None in another one
    entries: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            name = header[2].strip()
            names = _names(name)
            if header[1] == "[[":
                names = [name] if _spelled([name]) == wanted else [name, str(entries.get(name, 0))]
                entries[name] = entries.get(name, 0) + 1
            within = below = _below(_spelled(names), wanted)
            # A table may be there only by those within it.
            inner = number if inner is None and _spelled(names).startswith(wanted) else inner
        elif within and (key := _KEY.match(line)):
            below = _below(_spelled(_names(key[1])), within)
        else:
            continue
        if below is not None:
            best = number
        if below == "":
            break
    return inner if best is None else best


def _below(place: str, wanted: str) -> str | None:
    """Return the rest of `wanted` within that place; None if it is elsewhere."""
    return wanted[len(place) :] if place and wanted.startswith(place) else None


def _spelled(names: list[str]) -> str:
    """Return names as in places, which do not quote a name with dots; each name has a dot at its end."""
    return "".join(f"{name}." for name in names)


def _names(path: str) -> list[str]:
    """Return the parts of `columns."a.b".sql`; an index counts as one."""
    parts = re.findall(r""""([^"]*)"|'([^']*)'|\[(\d+)\]|([^.\[\]"']+)""", path)
    return [next(filter(None, part), "").strip() for part in parts]
