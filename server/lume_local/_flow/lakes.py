"""Tables as targets of a flow version, above all those of open formats, Delta and Iceberg. Pure.

The two share all settings except the name of the table: a folder or URL for Delta, a name in a catalog for Iceberg.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from lume_local._flow.databases import DATABASE, TableTarget, read_mode, read_name
from lume_local._flow.fields import FlowError, Table
from lume_local._flow.urls import NotAStoreUrl, is_store_url, split_store_url

DELTA, ICEBERG = FORMATS = "delta", "iceberg"
PLACEHOLDERS = ("data", "flow", "version")
"""The placeholders of a folder or URL: all runs of a flow version write to the same table."""
_CATALOG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_NAME = re.compile(r"[^\s./\\'\"`]{1,128}(\.[^\s./\\'\"`]{1,128}){1,9}")
_TRANSFORM = re.compile(r"(year|month|day|hour)\((.+)\)|(bucket|truncate)\((\d{1,5}), *(.+)\)")
_UNFIT = {
    "on_violation": "belongs to a database: this table has no constraints; check rows in the flow (columns, rules)",
    "url_env": "belongs to a database: this table is found by {kind}",
    "table": "belongs to a database: this table is found by {kind}",
}

_NO_PLACE = {DELTA: ("FLOAT", "DOUBLE", "DECIMAL"), ICEBERG: ("FLOAT", "DOUBLE")}
"""Types of columns that can't divide files: NaN is lost by pyiceberg, and deltalake can't read -0.5 again."""


def read_table(table: Table, *, is_mapped: bool) -> TableTarget:
    """Return `mapped` as a table, or that of `rejects`, except its `file`. Raises `FlowError`."""
    kind, more = _kind_of(table), dict[str, Any]()
    mode, key, history = read_mode(table) if is_mapped else ("append", (), "")
    if is_mapped and kind == DATABASE:
        more["on_violation"] = table.choice("on_violation", ("fail", "reject"), default="fail")
    elif is_mapped:
        more["partition_by"] = tuple(table.scalars("partition_by"))
        more["evolve"] = table.choice("evolve", ("add",), default="")
    url_env, name = read_name(table) if kind == DATABASE else ("", _name(table, kind))
    more["catalog"] = table.text("catalog", pattern=_CATALOG) if kind == ICEBERG else ""
    target = TableTarget(url_env, name, mode, key, table.flag("create"), history=history, kind=kind, **more)
    if is_mapped:
        table.refuse_unknown()
    return target


def _kind_of(table: Table) -> str:
    kinds = [kind for kind in FORMATS if kind in table.values]
    if len(kinds) > 1:
        raise FlowError(table.place, "names a table of each format, delta and iceberg: remove one of the two")
    for name, words in _UNFIT.items():
        if kinds and name in table.values:
            raise FlowError(table.at(name), words.format(kind=kinds[0]))
    return kinds[0] if kinds else DATABASE


def _name(table: Table, kind: str) -> str:
    """Return the folder or URL, or the name in a catalog."""
    if kind == DELTA:
        return _folder(table, kind)
    name: str = table.text(kind, longest=1000)
    if not _NAME.fullmatch(name):
        raise FlowError(
            table.at(kind),
            f"{name!r} is not a name in a catalog: write namespace.table, such as sales.customers",
        )
    return name


def _folder(table: Table, kind: str) -> str:
    place, text = table.at(kind), table.text(kind, longest=4096)
    for name in re.findall(r"\{([^{}]*)\}", text):
        if name not in PLACEHOLDERS:
            allowed = ", ".join("{" + one + "}" for one in PLACEHOLDERS)
            raise FlowError(
                place, f"{{{name}}} would be another table for each run: a table's place may have {allowed}"
            )
    if text.startswith("~/"):
        raise FlowError(place, "starts with ~, which only a shell expands: write the full path")
    if is_store_url(text):
        try:
            _, _, key = split_store_url(re.sub(r"\{\w+\}", "x", text).rstrip("/"))
        except NotAStoreUrl as refused:
            raise FlowError(place, str(refused)) from None
        if not key:
            raise FlowError(
                place, f"is a whole bucket: name a folder in it, such as {text.rstrip('/')}/customers"
            )
    elif "://" in text and not text.startswith("file://"):
        raise FlowError(place, "must be a folder, or a URL such as s3://bucket/folder, gs://… or az://…")
    return text.rstrip("/") or "/"


def partition_of(given: str) -> tuple[str, str]:
    """Return Iceberg's transform and the column of an item of `partition_by`: `("bucket[16]", "id")`."""
    match = _TRANSFORM.fullmatch(given)
    if not match:
        return "identity", given
    return (match[1], match[2]) if match[1] else (f"{match[3]}[{match[4]}]", match[5])


def partition_as_given(transform: str, column: str) -> str:
    """Return the item of `partition_by` for Iceberg's transform of a column."""
    name, _, number = transform.rstrip("]").partition("[")
    return column if name == "identity" else f"{name}({f'{number}, ' if number else ''}{column})"


def check_lake(target: Any, columns: Mapping[str, str], ever: Collection[str]) -> None:
    """Check the settings that concern columns. Raises `FlowError`.

    Args:
        columns: the SQL types of the flow's columns by name.
        ever: the columns whose values are unique in all runs.
    """
    if not isinstance(target, TableTarget) or target.kind == DATABASE:
        return
    for name in ever:
        raise FlowError(
            f"columns.{name}.unique",
            f'"ever" needs a table with constraints, which {target.kind} does not have: set true, which compares the '
            'rows of a run, and mode = "upsert" with this key, which keeps one row for each value',
        )
    names = [
        partition_of(given)[1] if target.kind == ICEBERG and given not in columns else given
        for given in target.partition_by
    ]
    for name in names:
        if name not in columns:
            raise FlowError(
                "target.mapped.partition_by", f"{name!r} is not a column of this flow: {', '.join(columns)}"
            )
        if columns[name].startswith(_NO_PLACE[target.kind]):
            raise FlowError(
                "target.mapped.partition_by",
                f"{name!r} is of the type {columns[name]}, whose values can't divide files: choose a text, a date or "
                "a whole number",
            )
    if len(set(names)) != len(names):
        raise FlowError("target.mapped.partition_by", "names a column twice")
    if target.partition_by and len(target.partition_by) == len(columns):
        raise FlowError("target.mapped.partition_by", "has all columns: a file needs at least one besides")
