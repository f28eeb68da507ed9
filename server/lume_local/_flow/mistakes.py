"""Collects the mistakes of a file, so that all of them are reported at once. Pure."""

import math
from collections.abc import Callable
from typing import TypeVar

from lume_local._flow.fields import FlowError, Table, toml_of
from lume_local._flow.lines import with_line

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
