"""The databases of a flow version: the query of its source, the table of its target. Pure.

The address and the password of a database are in the environment of the server only: a flow names the variable. The
`:source_path` of a query is a parameter, never a part of the text: the database receives the two separately.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import frozen

from lume_local._flow.fields import FlowError, Table

PARAMETER = "source_path"
_TOKEN = re.compile(
    r"""
    (?P<kept> [eE]'(?:[^'\\]|\\.|'')*+'         # a text with escapes
            | '(?:[^']|'')*+'                   # a text
            | "(?:[^"]|"")*+"                   # a name
            | `[^`]*+` | --[^\n]*+
            | \$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$
            | :: | :=
            | \w++ )
  | (?P<comment> /\*)
  | :(?P<name> [A-Za-z_]\w*+)
  | (?P<end> ;)
  | (?P<open> ['"`] | \$[A-Za-z_]*\$)
  | (?P<other> .)
    """,
    re.VERBOSE | re.DOTALL,
)


class QueryRefused(ValueError):
    """The query can't be sent; the message says why."""


def with_parameter(query: str, marker: str) -> tuple[str, bool]:
    """Return the query with `marker` in place of `:source_path`, and whether it has one. Raises `QueryRefused`."""
    parts = list(_parts(query.strip().removesuffix(";")))
    return "".join(marker if part is None else part for part in parts), None in parts


def _parts(query: str) -> Iterator[str | None]:
    """Yield the pieces of the query; None for each parameter."""
    at = 0
    while match := _TOKEN.match(query, at):
        at, token = match.end(), match[0]
        if match["comment"]:
            at = _end_of_comment(query, at)
            yield " "
        elif match["name"] == PARAMETER:
            yield None
        elif match["name"]:
            raise QueryRefused(f"{token} is not a parameter: there is :{PARAMETER}")
        elif match["end"]:
            raise QueryRefused("contains more than one statement: it must be one SELECT")
        elif match["open"]:
            raise QueryRefused(f"has a {token} that is not closed")
        else:
            yield token


def _end_of_comment(query: str, at: int) -> int:
    """Return the position after a comment, in which others may be nested."""
    depth = 1
    for match in re.compile(r"/\*|\*/").finditer(query, at):
        depth += 1 if match[0] == "/*" else -1
        if not depth:
            return match.end()
    raise QueryRefused("has a comment that is not closed")


RUN_COLUMN = "_lume_run_id"
"""The column of a table with the run that has written the row."""
REJECTS_TABLE = (
    ("_lume_reject", "BIGINT"),
    ("_lume_flow", "VARCHAR"),
    ("_lume_source", "VARCHAR"),
    ("_lume_row", "BIGINT"),
    ("_lume_line", "BIGINT"),
    ("_lume_reasons", "JSONB"),
    ("_lume_values", "JSON"),
)
"""The columns of a table of rejects besides `RUN_COLUMN`, the same for all flows: the number of the run's reject, the
flow version, the source as in the table of loads, and the columns of a file of rejects, the values as an object."""
REJECTS_REQUIRED = ("_lume_reject", "_lume_flow", "_lume_source", "_lume_reasons", "_lume_values")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,127}")
_PART = r"(?:[A-Za-z_]|[^\x00-\x7F])(?:[A-Za-z0-9_$ -]|[^\x00-\x7F]){0,62}"
_TABLE = re.compile(rf"{_PART}(\.{_PART})?")
LONGEST_NAME = 63
"""The maximum length of a PostgreSQL name, in bytes. PostgreSQL cuts off the rest: two tables would be one."""
MODES = ("append", "replace_batch", "upsert")
DATABASE = "database"
SCD2 = "scd2"
VALID_FROM, VALID_TO, CURRENT = HISTORY_COLUMNS = "valid_from", "valid_to", "current"
"""The columns of a table with history: the instants (UTC) between which a version of a row was valid, and whether it
still is.
"""


@frozen
class DatabaseQuery:
    """A query, and the environment variable with the URL of its database."""

    url_env: str
    query: str


@frozen
class TableTarget:
    """A table of a database or an open format, and the treatment of its current rows.

    Attributes:
        url_env, on_violation: of a table in a database.
        table: its name; of Delta, a folder or a URL, which may have placeholders; of Iceberg, a name in the catalog.
        mode: `append`; `replace_batch`, which replaces the flow's rows of the same source; or `upsert`, by `key`.
        key: the columns that identify a row.
        create: whether a run creates the table if it is missing.
        on_violation: `fail`, or `reject`: a row that a constraint of the table refuses is a reject.
        history: empty, or `scd2`: an upsert adds a version of a row, and keeps the earlier ones.
        kind: `database`, `delta` or `iceberg`.
        partition_by: the columns that divide the files of a table that a run creates; of Iceberg, also transforms of
            columns, such as `day(created)` or `bucket(16, id)`.
        evolve: empty, or `add`: a run adds the columns that the table lacks.
        catalog: the name of a catalog in pyiceberg's settings.
    """

    url_env: str
    table: str
    mode: str
    key: tuple[str, ...]
    create: bool = False
    on_violation: str = "fail"
    history: str = ""
    kind: str = DATABASE
    partition_by: tuple[str, ...] = ()
    evolve: str = ""
    catalog: str = ""


@frozen
class Reference:
    """A column of a table that must have a value."""

    url_env: str
    table: str
    column: str


def read_reference(table: Table) -> Reference | None:
    """Return `references = { url_env = …, table = …, column = … }` of a column. Raises `FlowError`."""
    if not table.values:
        return None
    reference = Reference(
        _variable(table), table.text("table", pattern=_TABLE), table.text("column", longest=128)
    )
    table.refuse_unknown()
    return reference


def read_query(table: Table) -> DatabaseQuery:
    """Return the query of `[source]` with `format = "sql"`. Raises `FlowError`."""
    source = DatabaseQuery(_variable(table), table.text("query", longest=100_000))
    try:
        with_parameter(source.query, "?")
    except QueryRefused as refused:
        raise FlowError(table.at("query"), str(refused)) from None
    return source


def read_name(table: Table) -> tuple[str, str]:
    """Return the variable and the name of a table in a database. Raises `FlowError`."""
    variable, name = _variable(table), table.text("table", pattern=_TABLE)
    if any(len(part.encode()) > LONGEST_NAME for part in name.split(".")):
        raise FlowError(table.at("table"), f"has a name of more than {LONGEST_NAME} bytes")
    return variable, name


def read_mode(table: Table) -> tuple[str, tuple[str, ...], str]:
    """Return `mode`, `key` and `history` of `mapped` as a table. Raises `FlowError`."""
    mode = table.choice("mode", MODES, default=None)
    if mode is None:
        raise FlowError(
            table.at("mode"),
            'is missing: "append" rows, "replace_batch" (those of the same source) or "upsert" by a key',
        )
    key = tuple(table.scalars("key"))
    if (mode == "upsert") != bool(key):
        raise FlowError(
            table.at("key"),
            'is required with mode = "upsert", and only there: the columns that identify a row',
        )
    history: str = table.choice("history", (SCD2,), default="")
    if history and mode != "upsert":
        raise FlowError(
            table.at("history"), 'needs mode = "upsert" and a key, by which the versions of a row are found'
        )
    return mode, key, history


def check_history(history: str, columns: Iterable[str]) -> None:
    """Check that the flow has no column of a table with history. Raises `FlowError`."""
    for name in columns if history else ():
        if name.lower() in HISTORY_COLUMNS:
            raise FlowError(
                f"columns.{name}", 'is a column that history = "scd2" writes: give it another name'
            )


def _variable(table: Table) -> str:
    """Return the name of an environment variable. A possible URL is not repeated: it may contain a password."""
    name = table.text("url_env", longest=4096)
    if not _VARIABLE.fullmatch(name):
        raise FlowError(
            table.at("url_env"),
            "must name an environment variable of the server, such as WAREHOUSE_URL, that holds the URL",
        )
    return name


def check_ever(target: Any, ever: Iterable[str]) -> None:
    """Check that no row replaces one with the same value in these columns. Raises `FlowError`."""
    for name in ever:
        if isinstance(target, TableTarget) and target.kind == DATABASE and name in target.key:
            raise FlowError(
                f"columns.{name}.unique", '"ever" contradicts the upsert, whose key it is: set true'
            )


def check_key(target: Any, columns: Mapping[str, bool], unique: Iterable[str]) -> None:
    """Check that the key of an upsert is unique in all mapped rows, if the flow shows it. Raises `FlowError`.

    `columns` are the flow's, with whether each is required.
    """
    if isinstance(target, str):
        return
    place = "target.mapped.key"
    for name in target.key:
        if name not in columns:
            raise FlowError(place, f"{name!r} is not a column of this flow: {', '.join(columns)}")
        if not columns[name]:
            raise FlowError(
                place, f"{name!r} can be NULL, which never equals another value: set required = true"
            )
    if len(target.key) == 1 and target.key[0] not in set(unique):
        raise FlowError(place, f"{target.key[0]!r} can occur twice: set unique = true")
