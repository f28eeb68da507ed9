"""Where formats have records and columns: `fixed`, `json` and `xml` in `[source]`. Pure."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from attrs import frozen

from lume_local._flow.fields import CONTROL, FlowError, Table

_MOST_COLUMNS = 2000
_MOST_CHARACTERS = 1_000_000
_MOST_STEPS = 20
_LONGEST_NAME = 200
_UNWRITABLE = re.compile(f"{CONTROL.pattern}|[\ud800-\udfff]")


@frozen
class FixedSettings:
    """Columns by the positions of their characters.

    Attributes:
        spans: the first character of each column, counted from 0, and the one after its last.
        names: the names of the columns; empty if the header has them.
        trimmed: whether blanks at the end of a line may be missing.
    """

    spans: tuple[tuple[int, int], ...]
    names: tuple[str, ...] = ()
    trimmed: bool = False


def read_fixed(table: Table) -> FixedSettings:
    """Return the settings of `[source.fixed]` except `encoding`, which is read elsewhere. Raises `FlowError`."""
    columns, widths = table.table("columns"), table.scalars("widths")
    if bool(columns.values) == bool(widths):
        raise FlowError(
            table.place,
            "needs either columns = { no = [1, 8], name = [9, 30] }, the first and the last character of each, or "
            "widths = [8, 22]",
        )
    trimmed = table.flag("trimmed")
    if widths:
        spans, at = list[tuple[int, int]](), 0
        for n, width in enumerate(widths):
            spans.append((at, at := at + _number(table.at(f"widths[{n}]"), width)))
        return FixedSettings(tuple(spans), trimmed=trimmed)
    if len(columns.values) > _MOST_COLUMNS:
        raise FlowError(columns.place, f"are {len(columns.values):,}: {_MOST_COLUMNS:,} are the most")
    named = {name: _span(columns.at(name), name, value) for name, value in columns.values.items()}
    # By position, not as listed: the same columns are the same flow, whatever the order of keys.
    names = sorted(named, key=lambda name: (named[name], name))
    return FixedSettings(tuple(named[name] for name in names), tuple(names), trimmed)


def _span(place: str, name: str, value: Any) -> tuple[int, int]:
    if not name.strip() or len(name) > _LONGEST_NAME:
        raise FlowError(place, f"{name!r} is not a name of 1 to {_LONGEST_NAME} characters")
    if not isinstance(value, list) or len(value) != 2:
        raise FlowError(place, f"must be the first and the last character, such as [1, 8], not {value!r}")
    first, last = (_number(place, one) for one in value)
    if last < first:
        raise FlowError(place, f"ends at character {last}, before it begins")
    return first - 1, last


def _number(place: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_CHARACTERS:
        raise FlowError(place, f"{value!r} is not a whole number from 1 to {_MOST_CHARACTERS:,}")
    return value


def pointers(name: str) -> list[str]:
    """Return the places of a name's value: the member of that name, or in nested objects if it has dots."""
    return list(dict.fromkeys((pointer_of([name]), pointer_of(name.split(".")))))


def pointer_of(steps: Sequence[str]) -> str:
    """Return the JSON pointer to a member of nested objects."""
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)


@lru_cache(1024)
def why_unreadable(steps: tuple[str, ...]) -> str | None:
    """Return why no name in a flow stands for a member of nested objects; None if `.` between `steps` makes one."""
    name = ".".join(steps)
    if not name:
        return "a flow can't read a member without a name: rename it"
    if _UNWRITABLE.search(name):
        return "its name has a character that a flow can't contain: rename it"
    is_read = pointer_of(steps) in pointers(name)
    return None if is_read else "dots separate the names in a path, and a name has one"


def read_records(table: Table, separator: str) -> tuple[str, ...]:
    """Return `records` of `[source.json]` or `[source.xml]`: the names on the way to the records. Raises `FlowError`.

    It is one text with separators, or a list of names, in which separators are characters like any other.
    """
    if isinstance(table.values.get("records"), list):
        steps = table.scalars("records")
    else:
        text = table.text("records", default="", longest=_LONGEST_NAME * _MOST_STEPS)
        steps = text.removeprefix("/").split(separator) if text else []
    if len(steps) > _MOST_STEPS:
        raise FlowError(table.at("records"), f"has {len(steps):,} steps: {_MOST_STEPS} are the most")
    for step in steps:
        if not isinstance(step, str) or not step.strip() or len(step) > _LONGEST_NAME:
            raise FlowError(
                table.at("records"), f"{step!r} is not a name: write names with {separator!r} between them"
            )
    return tuple(steps)
