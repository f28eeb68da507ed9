"""The `[source]` of a flow version: its location, its format, and where `fixed`, `json` and `xml` have records and
columns. Pure.
"""

import codecs
import glob
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from attrs import frozen

from lume_local._flow.databases import DatabaseQuery, read_query
from lume_local._flow.fields import CONTROL, FlowError, Table
from lume_local._flow.places import check_placeholders
from lume_local._flow.table_bounds import (
    FooterSettings,
    HeaderSettings,
    SheetSettings,
    read_comment,
    read_footer,
    read_header,
    read_sheets,
)
from lume_local._flow.urls import is_sftp_url, is_store_url

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


PATH, CONTENT = "path", "content"
"""The properties by which two sources differ: their path only, or their content as well."""
OBJECTS = ("json", "ndjson", "xml")
"""Formats of objects with members, whose names are case-sensitive."""
SQL = "sql"
"""The format of a source that is a query."""
_LINE_BYTES = 2_000_000
_UNPACKED_BYTES = 10 * 1024**3
_MOST_LINE_BYTES = 64_000_000
FINDING = ("uri", "compression", "members", "identity", "max_unpacked_bytes")
"""Keys that find the files, whatever their layout. They don't apply to a query."""
SHARED = (*FINDING, "null", "on_unknown_columns", "max_line_bytes")
"""The only keys of `[source]` in a version with layouts, each of which has a `source` of its own."""
_OF_TABLES = ("header", "names", "comment", "footer")
"""Keys that apply only to lines and rows of a sheet."""
_TABLES = ("csv", "fixed", "excel")
"""Formats in which other lines or rows may surround a table."""
_FORMATS = ("csv", "fixed", "ndjson", "json", "xml", "parquet", "excel", SQL)
_OF_ONE = ("csv", "fixed", "json", "xml", "excel")
"""Tables for one format, which has the same name."""


class SourceSettings(NamedTuple):
    """How to find and read the source files; or the query that returns the rows.

    `where` is a condition over a row of the source: other rows are filtered, neither mapped nor rejected.
    """

    format: str
    uris: tuple[str, ...]
    on_unknown_columns: str
    compression: str
    members: tuple[str, ...]
    max_unpacked_bytes: int
    delim: str
    quote: str
    escape: str
    encoding: str
    max_line_bytes: int
    sheets: SheetSettings
    header: HeaderSettings
    comment: str
    footer: FooterSettings | None
    identity: str = PATH
    null: tuple[str, ...] = ()
    query: DatabaseQuery | None = None
    where: str = ""
    fixed: FixedSettings | None = None
    records: tuple[str, ...] = ()
    """The names on the way to the records of JSON or XML."""


def read_source(table: Table) -> SourceSettings:
    """Return the table `[source]`. Raises `FlowError`."""
    kind = table.choice("format", _FORMATS, default="csv")
    csv, fixed, json, xml, excel = (table.table(one) for one in _OF_ONE)
    columns = read_fixed(fixed) if kind == "fixed" else None
    source = SourceSettings(
        format=kind,
        uris=_uris(table),
        on_unknown_columns=table.choice("on_unknown_columns", ("ignore", "warn", "fail"), default="ignore"),
        compression=table.choice("compression", ("auto", "none", "gzip", "zstd", "zip"), default="auto"),
        members=_members(table),
        max_unpacked_bytes=table.count("max_unpacked_bytes", default=_UNPACKED_BYTES, most=2**50),
        delim=csv.text("delim", default=",", longest=1),
        quote=csv.text("quote", default='"', longest=1),
        escape=csv.text("escape", default="", longest=1),
        encoding=(fixed if columns else csv).text("encoding", default="utf-8", longest=40),
        max_line_bytes=table.count("max_line_bytes", default=_LINE_BYTES),
        sheets=read_sheets(excel),
        header=read_header(table, columns.names if columns else ()),
        comment=read_comment(table),
        footer=read_footer(table),
        identity=table.choice("identity", (PATH, CONTENT), default=PATH),
        null=_null(table),
        where=table.text("where", default="", longest=20_000),
        query=read_query(table) if kind == SQL else None,
        fixed=columns,
        records=read_records(xml, "/") if kind == "xml" else read_records(json, "."),
    )
    without = [*(one for one in _OF_ONE if one != kind), *(FINDING if kind == SQL else ())]
    without += _OF_TABLES if kind not in _TABLES else ()
    for key in without:
        if key in table.values:
            raise FlowError(table.at(key), f"has no meaning for format {kind!r}: remove it")
    for part in (table, csv, fixed, json, xml):
        part.refuse_unknown()
    if columns and source.header.names and len(source.header.names) != len(columns.spans):
        raise FlowError(
            table.at("names"), f"are {len(source.header.names)}, and fixed.widths {len(columns.spans)}"
        )
    if kind == "xml" and not source.records:
        raise FlowError(xml.at("records"), 'is missing: the way to a record, such as "orders/order"')
    if not 1 <= source.max_line_bytes <= _MOST_LINE_BYTES:
        raise FlowError(table.at("max_line_bytes"), f"must be a whole number from 1 to {_MOST_LINE_BYTES:,}")
    _check_dialect(table.place, source)
    return source


def _uris(table: Table) -> tuple[str, ...]:
    """Return one path or pattern, or a list of them."""
    if isinstance(table.values.get("uri"), list):
        uris = tuple(table.scalars("uri"))
    else:
        uris = (table.text("uri", default="{source_path}", longest=4096),)
    for uri in uris:
        if not isinstance(uri, str) or not uri.strip() or len(uri) > 4096:
            raise FlowError(table.at("uri"), f"{uri!r} is not a path or a pattern of up to 4,096 characters")
        check_placeholders(table.at("uri"), uri, ("source_path",))
        if glob.has_magic(uri) and "://" in uri and not (is_store_url(uri) or is_sftp_url(uri)):
            raise FlowError(
                table.at("uri"),
                f"{uri!r} is a pattern, and so must be a path or a URL of an object store or an SFTP server",
            )
    return uris


def _members(table: Table) -> tuple[str, ...]:
    """Return the patterns of the members of an archive to read, in their order: one, or a list."""
    given = table.values.get("members")
    members = (table.text("members"),) if isinstance(given, str) else tuple(table.scalars("members"))
    for one in members:
        if not isinstance(one, str) or not one.strip("/ ") or one.startswith("/") or len(one) > 1000:
            raise FlowError(
                table.at("members"),
                f'{one!r} is not a pattern of names in an archive, such as "*.csv" or "**/*.csv"',
            )
    if members and table.values.get("compression", "auto") not in ("auto", "zip"):
        raise FlowError(
            table.at("members"), 'has no meaning unless compression is "zip" or "auto": remove it'
        )
    return members


def _null(table: Table) -> tuple[str, ...]:
    """Return the strings that mean null in the source, without spaces around them."""
    words = tuple(table.scalars("null"))
    for word in words:
        if not isinstance(word, str) or not word.strip() or word != word.strip() or len(word) > 100:
            raise FlowError(
                table.at("null"),
                f"{word!r} is not a string of 1 to 100 characters without spaces around it: an empty value is NULL "
                "anyway",
            )
    return words


def _check_dialect(within: str, source: SourceSettings) -> None:
    """Refuse a dialect in which no file can be read, before the first run does."""
    if source.comment and source.comment[0] in source.delim + source.quote:
        raise FlowError(f"{within}.comment", "must not begin with the delimiter or the quote")
    if not source.delim or not source.delim.isascii() or source.delim in "\r\n" + source.quote:
        raise FlowError(
            f"{within}.csv.delim", "must be one ASCII character, not the quote and not a line end"
        )
    if not source.quote.isascii() or source.quote.isspace():
        raise FlowError(
            f"{within}.csv.quote", "must be one ASCII character other than a space, or empty for none"
        )
    if not source.escape.isascii() or source.escape.isspace():
        raise FlowError(f"{within}.csv.escape", "must be one ASCII character other than a space")
    if source.escape == source.delim:
        raise FlowError(f"{within}.csv.escape", "is the delimiter, which would end the field inside quotes")
    if source.escape and not source.quote:
        raise FlowError(f"{within}.csv.escape", "has no meaning without a quote: remove one of the two")
    try:
        letter = "a".encode(source.encoding)
        # Undecodable bytes are kept; codecs that can't do so are refused.
        codecs.getincrementaldecoder(source.encoding)("surrogateescape").decode(letter, final=True)
    except (LookupError, UnicodeError):
        place = f"{within}.{'fixed' if source.fixed else 'csv'}.encoding"
        raise FlowError(place, f"{source.encoding!r} is not an encoding: try utf-8") from None
