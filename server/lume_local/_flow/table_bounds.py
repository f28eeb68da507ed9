"""The bounds of the table in a file: `header`, `names`, `comment` and `footer` in `[source]`. Pure."""

from typing import Any

from attrs import frozen

from lume_local._flow.aliases import folded
from lume_local._flow.fields import FlowError, Table

LOOKED_AT = 100
"""How many lines of a file are searched for its header, and how many at its end for a footer."""
_MOST_LINES = 5


@frozen
class HeaderSettings:
    """The line that names the columns.

    Attributes:
        row: its number from 1 on; 0 if it is searched for, or if there is none.
        contains: names that are all in it; without them, the columns that the flow reads are searched for.
        lines: the number of its lines, whose names are joined.
        names: the column names of files without a header.
    """

    row: int = 1
    contains: tuple[str, ...] = ()
    lines: int = 1
    names: tuple[str, ...] = ()


@frozen
class FooterSettings:
    """The last lines that are no records; set one of the two.

    Attributes:
        rows: their number.
        starts_with: the beginning of each of them.
    """

    rows: int = 0
    starts_with: tuple[str, ...] = ()


def read_header(source: Table, named: tuple[str, ...] = ()) -> HeaderSettings:
    """Return `header` and `names` of the table `[source]`; `named` are columns with names. Raises `FlowError`."""
    place, value = source.at("header"), source.values.get("header")
    names = _texts(source, "names")
    if named and names:
        raise FlowError(
            source.at("names"), "has no meaning with fixed.columns, which have names: remove one of the two"
        )
    if isinstance(value, dict):
        if names:
            raise FlowError(source.at("names"), 'has no meaning without header = "none"')
        return _table(source.table("header"))
    kind = source.choice("header", ("first", "find", "none"), default="none" if named else "first")
    names = named if named and kind == "none" else names
    if (kind == "none") != bool(names):
        raise FlowError(place, 'header = "none" and names = ["…", …] belong together')
    return HeaderSettings(row=int(kind == "first"), names=names)


def _table(table: Table) -> HeaderSettings:
    row = table.count("row", default=0, most=LOOKED_AT)
    lines = table.count("lines", default=1, most=_MOST_LINES)
    contains = _texts(table, "contains")
    table.no_more()
    for name in contains:
        if not folded(name):
            raise FlowError(table.at("contains"), f"{name!r} has no letter or digit to compare")
    if bool(row) == bool(contains):
        raise FlowError(table.place, 'is either { row = 4 } or { contains = ["E-Mail", "Amount"] }')
    if not lines:
        raise FlowError(table.at("lines"), f"must be a whole number from 1 to {_MOST_LINES}")
    return HeaderSettings(row, contains, lines)


def read_footer(source: Table) -> FooterSettings | None:
    """Return `footer` of the table `[source]`. Raises `FlowError`."""
    if not source.present("footer"):
        return None
    table = source.table("footer")
    rows, starts_with = table.count("rows", most=LOOKED_AT), _texts(table, "starts_with")
    table.no_more()
    if bool(rows) == bool(starts_with):
        raise FlowError(table.place, 'is either { rows = 1 } or { starts_with = ["Total"] }')
    return FooterSettings(rows, tuple(text.lstrip() for text in starts_with))


def read_comment(source: Table) -> str:
    """Return `comment` of the table `[source]`; empty if lines can't be comments. Raises `FlowError`."""
    comment: str = source.text("comment", default="", longest=10)
    if source.present("comment") and not comment.strip():
        raise FlowError(source.at("comment"), 'must be what comments begin with, such as "#"')
    return comment


def _texts(table: Table, key: str) -> tuple[str, ...]:
    texts: list[Any] = table.scalars(key)
    for text in texts:
        if not isinstance(text, str) or not text.strip() or len(text) > 200:
            raise FlowError(table.at(key), f"{text!r} is not a string of 1 to 200 characters")
    return tuple(texts)
