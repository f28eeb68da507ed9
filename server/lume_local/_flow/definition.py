"""Reads a flow version: TOML (or its JSON form) in, a checked `Flow` out. Pure.

Only the structure is checked here; DuckDB checks the SQL, in a worker (`_worker/compiler`).
"""

import hashlib
import re
from itertools import product
from typing import Any, NamedTuple

import orjson
from attrs import field, frozen

from lume_async._base.controls import control_in
from lume_async._base.words import counted
from lume_local._flow.checks import Check, read_checks
from lume_local._flow.cleaners import CLEANERS, named_in
from lume_local._flow.databases import (
    Reference,
    TableTarget,
    check_ever,
    check_history,
    check_key,
    read_reference,
)
from lume_local._flow.fields import FlowError, Table, toml_of
from lume_local._flow.lakes import check_lake
from lume_local._flow.patterns import parts_of
from lume_local._flow.places import check_is_own, read_targets
from lume_local._flow.source_settings import CONTENT, FINDING, SHARED, SQL, SourceSettings, read_source
from lume_local._flow.table_bounds import Aliases, read_aliases

SHARD_BYTES = 256 * 1024**2
"""The default size of a shard, approximately."""
LEAST_SHARD = 1024
MOST_SHARDS = 100_000
_SIZE = re.compile(r"(\d{1,15})([KMGT]?)", re.IGNORECASE)
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


class Sharding(NamedTuple):
    """The flow's settings for shards; None leaves them to the server."""

    shard_bytes: int | None
    shards: int | None


def read_engine(top: Table) -> Sharding | None:
    """Return the table `[engine]`; None if it is missing. Raises `FlowError`."""
    if not top.present("engine"):
        return None
    table = top.table("engine")
    if table.present("url"):
        raise FlowError(table.at("url"), "belongs to the server, not to a flow: lume serve --engine URL")
    size, shards = _shard_bytes(table), None
    if table.present("shards") and (shards := table.count("shards", most=MOST_SHARDS)) < 1:
        raise FlowError(table.at("shards"), "must be at least 1")
    sharding = Sharding(size, shards)
    table.refuse_unknown()
    if sharding.shards is not None and sharding.shard_bytes is not None:
        raise FlowError(table.place, "has both shards and shard_bytes: remove one of the two")
    return sharding


def _shard_bytes(table: Table) -> int | None:
    if not table.present("shard_bytes"):
        return None
    given, size = table.values["shard_bytes"], 0
    if isinstance(given, int) and not isinstance(given, bool):
        size = given
    elif isinstance(given, str) and (match := _SIZE.fullmatch(given)):
        size = int(match[1]) * _UNITS[match[2].upper()]
    if size < LEAST_SHARD:
        raise FlowError(
            table.at("shard_bytes"), f"{given!r} is not a valid size: write 256M or 1G, at least 1K"
        )
    return size


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
RESERVED = "_lume_"
"""The prefix of the engine's own names, in sources and in targets."""
REJECTED_ROWS = "the rejected rows"
"""The name in messages for the file that the server has gathered for a replay: nobody else has ever seen it."""
_MOST_COLUMNS = 5000
"""The maximum number of columns; more take too long to check."""
_MOST_LAYOUTS, _MOST_OF_LAYOUTS = 200, 20_000
"""The maximum number of layouts, and of their columns together: a job has the compiled form of each."""
_NUMBERS = frozenset({"rowid", "file_row_number"})
"""DuckDB's row numbers of tables and of Parquet files: a column of that name would hide the number."""

SEED_BYTES = 64 * 1024 * 1024
"""The maximum size of a seed, which is read whole."""
_SQL_TYPE = re.compile(
    r"(?P<name>TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|UTINYINT|USMALLINT|UINTEGER|UBIGINT|FLOAT|DOUBLE|BOOLEAN"
    r"|VARCHAR|UUID|DATE|TIME|TIMESTAMP|TIMESTAMPTZ)|DECIMAL\((?P<digits>\d{1,2}), ?(?P<scale>\d{1,2})\)"
)
INTEGERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
)
_FITTING = {
    "integer": INTEGERS,
    "number": INTEGERS | {"FLOAT", "DOUBLE", "DECIMAL"},
    "boolean": frozenset({"BOOLEAN"}),
    "string": frozenset({"VARCHAR", "UUID", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ"}),
}
_DEFAULT_SQL_TYPE = {"integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "string": "VARCHAR"}
_FORMAT_SQL_TYPE = {"date": "DATE", "date-time": "TIMESTAMPTZ", "time": "TIME"}
TEXT_FORMATS = frozenset({"email", "uuid", "uri", "ipv4"})
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
LENGTHS = ("minLength", "maxLength")
PAIRS = (*product(BOUNDS[::2], BOUNDS[1::2]), LENGTHS)


class Column(NamedTuple):
    """One column of the target: the source of its value, its type, and its constraints.

    `unique` is within a run; `ever` also in the target's table, or in all runs of the flow.
    """

    name: str
    sql: str
    aliases: Aliases | None
    type: str
    format: str | None
    sql_type: str
    required: bool
    unique: bool
    enum: tuple[Any, ...]
    pattern: str | None
    bounds: dict[str, Any]
    lengths: dict[str, int]
    ever: bool = False
    references: Reference | None = None


class Rule(NamedTuple):
    """A condition, and the treatment of a row or a run that breaks it.

    In `rules` it applies to a row of the target; in `expect` to all mapped rows, and the counts.
    """

    name: str
    sql: str
    message: str
    on_fail: str


class Seed(NamedTuple):
    """A small CSV file in which expressions look values up by a unique key. If `per_run`, a run may bring another."""

    name: str
    path: str
    key: str
    per_run: bool = False


class FlowLayout(NamedTuple):
    """How one sender writes the files of a flow.

    Attributes:
        match: the patterns of its files' paths; empty if it is recognised by the names in a file.
        source: all settings, with those that the layouts share.
        columns: those of the flow, each read as this layout says.
    """

    name: str
    match: tuple[str, ...]
    source: SourceSettings
    columns: tuple[Column, ...]


class LayoutRefused(Exception):
    """A flow version has no layout of that name. The message says which it has."""


@frozen
class Flow:
    """A checked flow version. `definition` is its JSON form.

    With `layouts`, `source` has only the settings that they share, and `columns` the sources that are their default.
    With `approval`, edited rejects are processed once a second person has approved them.
    """

    name: str
    version: str
    source: SourceSettings
    mapped: str | TableTarget
    rejects: str
    rejects_table: TableTarget | None
    max_ratio: float | None
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...]
    expect: tuple[Rule, ...]
    seeds: tuple[Seed, ...]
    sharding: Sharding | None
    definition: dict[str, Any] = field(repr=False)
    layouts: tuple[FlowLayout, ...] = ()
    checks: tuple[Check, ...] = ()
    approval: bool = False

    @property
    def ref(self) -> str:
        """`flow:version`, as requests name it."""
        return f"{self.name}:{self.version}"

    @property
    def content_hash(self) -> str:
        """The same for two files with the same content, whatever their layout and order of keys.

        Another version of a cleaner in use counts as other content, as its results may differ. Settings for shards
        don't count.
        """
        content = {key: value for key, value in self.definition.items() if key != "engine"}
        digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS))
        for name in self.cleaners:
            digest.update(f"\n{name} {CLEANERS[name].version}".encode())
        return digest.hexdigest()

    @property
    def cleaners(self) -> list[str]:
        """The names of the cleaners that its expressions call."""
        sql = [rule.sql for rule in self.rules]
        for reading in self.layouts or (self,):
            sql += [reading.source.where, *(column.sql for column in reading.columns)]
        return named_in(sql)

    def check_layout(self, layout: str) -> None:
        """Raise `LayoutRefused` if it has no layout of this name."""
        known = [one.name for one in self.layouts]
        if not known:
            raise LayoutRefused(f"{self.ref} has no layouts: name none, or a version that has {layout!r}")
        if layout not in known:
            raise LayoutRefused(f"{self.ref} has no layout {layout!r}; it has {', '.join(sorted(known))}")


def read_toml(text: str) -> Flow:
    """Read a flow version from the text of its file. Raises `FlowError`."""
    return read_definition(toml_of(text))


def read_definition(definition: Any) -> Flow:
    """Read a flow version from its JSON form. Raises `FlowError` with the place of the first mistake."""
    if not isinstance(definition, dict):
        raise FlowError("", "must be a table (a JSON object)")
    top = Table("", definition)
    name, version = top.text("flow", pattern=NAME), top.text("version", pattern=VERSION)
    top.text("description", default="", longest=10_000)
    source = read_source(top.table("source"))
    mapped, rejects, rejects_table = read_targets(top.table("target"), name, version, source.format)
    if source.identity == CONTENT:
        check_is_own({"mapped": mapped, "rejects": rejects})
    rules = _rules(top, "rules", ("reject", "warn", "fail"))
    expect = _rules(top, "expect", ("fail", "warn"))
    seeds = _seeds(top.table("seeds"))
    sharding = read_engine(top)
    columns = _columns(top.table("columns"), has_layouts="layouts" in definition)
    layouts = _layouts(top, columns)
    check_key(
        mapped, {one.name: one.required for one in columns}, [one.name for one in columns if one.unique]
    )
    ever = [one.name for one in columns if one.ever]
    check_ever(mapped, ever)
    check_lake(mapped, {one.name: one.sql_type for one in columns}, ever)
    if not isinstance(mapped, str):
        check_history(mapped.history, [one.name for one in columns])
    table = top.table("rejects")
    ratio, approval = table.number("max_ratio"), table.flag("approval")
    table.refuse_unknown()
    if ratio is not None and not 0 <= ratio <= 1:
        raise FlowError("rejects.max_ratio", "must lie between 0 and 1: 0.25 allows a quarter of the rows")
    read = [(f"[layouts.{one.name}.source]", one.source) for one in layouts] or [("[source]", source)]
    without = [place for place, one in read if one.footer is None]
    checks = read_checks(top, {one.name: one.sql_type for one in columns}, without)
    of_rows = (ratio, columns, rules, expect, seeds, sharding, definition, layouts, checks, approval)
    flow = Flow(name, version, source, mapped, rejects, rejects_table, *of_rows)
    top.refuse_unknown()
    _no_twins("rules", [rule.name for rule in rules])
    _no_twins("expect", [rule.name for rule in (*rules, *expect)])
    return flow


def _columns(table: Table, *, has_layouts: bool) -> tuple[Column, ...]:
    if not table.values:
        raise FlowError("columns", "is missing: describe at least one target column as [columns.<name>]")
    if len(table.values) > _MOST_COLUMNS:
        raise FlowError("columns", f"are {len(table.values):,}: a flow may have up to {_MOST_COLUMNS:,}")
    for name, entry in table.values.items():
        if not name.strip() or len(name) > 128 or control_in(name):
            raise FlowError(
                "columns",
                f"{name!r} can't name a column: use 1 to 128 characters, none of them a control character",
            )
        if name.lower().startswith(RESERVED):
            raise FlowError(
                f"columns.{name}", f"names that begin with {RESERVED} are reserved for the engine"
            )
        if name.lower() in _NUMBERS:
            raise FlowError(
                f"columns.{name}",
                "is DuckDB's name for the row number: choose another name, such as row_id",
            )
        if not isinstance(entry, dict):
            raise FlowError(f"columns.{name}", "must be a table: write [columns.<name>]")
    _no_twins("columns", list(table.values))
    return tuple(
        _column(name, Table(f"columns.{name}", entry), has_layouts=has_layouts)
        for name, entry in table.values.items()
    )


def _no_twins(place: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise FlowError(place, f"{name!r} appears twice (names that differ only in case are the same)")
        seen.add(name.lower())


def _column(name: str, table: Table, *, has_layouts: bool) -> Column:
    kind = table.choice("type", tuple(_FITTING), default="string")
    shape = table.choice("format", (*_FORMAT_SQL_TYPE, *sorted(TEXT_FORMATS)), default=None)
    sql_type = _sql_type(table, kind, shape)
    for words in ("title", "description"):
        table.text(words, default="", longest=10_000)
    # Layouts differ in names: none has a column because the contract has one of that name.
    sql, aliases = ("NULL", None) if has_layouts and not _is_read(table) else _reading(name, table)
    ever = table.present("unique") and table.values["unique"] == "ever"
    column = Column(
        name=name,
        sql=sql,
        aliases=aliases,
        type=kind,
        format=shape,
        sql_type=sql_type,
        required=table.flag("required"),
        unique=ever or table.flag("unique"),
        enum=tuple(table.scalars("enum")),
        pattern=table.text("pattern", default="", longest=2_000) or None,
        bounds={key: table.value(key) for key in BOUNDS if table.present(key)},
        lengths={key: table.count(key) for key in LENGTHS if table.present(key)},
        ever=ever,
        references=read_reference(table.table("references")),
    )
    table.refuse_unknown()
    _check_limits(column, table.place)
    return column


def _is_read(table: Table) -> bool:
    """Return whether a column's table says what it is read from."""
    return any([table.present("sql"), table.present("from")])


def _reading(name: str, table: Table, *, of_layout: bool = False) -> tuple[str, Aliases | None]:
    """Return the expression that a column is read with, and the names that a source may have for it."""
    sql = table.text("sql", default=quoted(name), longest=20_000)
    if not sql.strip():
        raise FlowError(table.at("sql"), "is empty: leave it out, or write NULL")
    return sql, read_aliases(name, table, of_layout=of_layout)


def _layouts(top: Table, columns: tuple[Column, ...]) -> tuple[FlowLayout, ...]:
    if not top.present("layouts"):
        return ()
    table, shared = top.table("layouts"), top.table("source").values
    if not table.values:
        raise FlowError("layouts", "is empty: describe at least one layout as [layouts.<name>], or remove it")
    if len(table.values) > _MOST_LAYOUTS:
        raise FlowError("layouts", f"are {len(table.values):,}: a version may have up to {_MOST_LAYOUTS}")
    if len(table.values) * len(columns) > _MOST_OF_LAYOUTS:
        raise FlowError(
            "layouts",
            f"are {len(table.values):,}, of {counted(len(columns), 'column')} each: a version may have up to "
            f"{_MOST_OF_LAYOUTS:,} columns in all layouts",
        )
    for key in shared:
        if key not in SHARED:
            raise FlowError(
                f"source.{key}",
                "says how a file is written: with layouts, move it to [layouts.<name>.source]",
            )
    layouts = tuple(
        _layout(table.at(name), name, entry, shared, columns) for name, entry in table.values.items()
    )
    _no_twins("layouts", [one.name for one in layouts])
    for layout in layouts if len(layouts) > 1 else ():
        _check_is_recognised(layout)
    _check_patterns(layouts)
    return layouts


def _check_patterns(layouts: tuple[FlowLayout, ...]) -> None:
    """Refuse a pattern of two layouts: each file that it matches would have both."""
    owners = dict[tuple[str, ...], str]()
    for layout in layouts:
        for pattern in layout.match:
            owner = owners.setdefault(tuple(parts_of(pattern)), layout.name)
            if owner != layout.name:
                raise FlowError(
                    f"layouts.{layout.name}.match",
                    f"{pattern!r} is a pattern of layout {owner!r}, too: every file that it matches would have both",
                )


def _layout(
    place: str, name: str, entry: Any, shared: dict[str, Any], columns: tuple[Column, ...]
) -> FlowLayout:
    if not NAME.fullmatch(name):
        raise FlowError(place, f"{name!r} can't name a layout: it must match {NAME.pattern}")
    if not isinstance(entry, dict):
        raise FlowError(place, f"must be a table: write [layouts.{name}]")
    table = Table(place, entry)
    match = (table.text("match"),) if isinstance(entry.get("match"), str) else tuple(table.scalars("match"))
    for one in match:
        if not isinstance(one, str) or not one.strip("/ ") or len(one) > 1000 or control_in(one):
            raise FlowError(table.at("match"), f'{one!r} is not a pattern of paths, such as "mueller/*"')
    own, read = table.table("source"), table.table("columns")
    for key in own.values:
        if key in FINDING:
            raise FlowError(own.at(key), "is for all files, whatever their layout: move it to [source]")
    source = read_source(Table(own.place, shared | own.values))
    if source.format == SQL:
        raise FlowError(
            own.at("format"), "is a query, which has no layouts: write its sql in a version without them"
        )
    names = [column.name for column in columns]
    for key in read.values:
        if key not in names:
            raise FlowError(
                read.at(key),
                f"is not a column of the flow: write [columns.{key}] too, or one of {', '.join(names)}",
            )
    table.refuse_unknown()
    return FlowLayout(name, match, source, tuple(_read_by_layout(column, read) for column in columns))


def _read_by_layout(column: Column, read: Table) -> Column:
    """Return a column as a layout reads it: what the layout lacks is read as the contract says."""
    if not read.present(column.name):
        return column
    place, entry = read.at(column.name), read.values[column.name]
    if not isinstance(entry, str | dict):
        raise FlowError(place, "must be sql, such as '\"Amount\"', or a table with from and sql")
    table = Table(place, {"sql": entry} if isinstance(entry, str) else entry)
    for key in table.values:
        if key not in ("from", "sql"):
            raise FlowError(
                table.at(key),
                f"is not how a file is read, which is from and sql: move it to [columns.{column.name}]",
            )
    if not _is_read(table):
        raise FlowError(place, "is empty: write from or sql, or leave it out")
    sql, aliases = _reading(column.name, table, of_layout=True)
    return column._replace(sql=sql, aliases=aliases)


def _check_is_recognised(layout: FlowLayout) -> None:
    """Refuse a layout that would be recognised by its rows: it takes a stranger's file, with columns swapped."""
    source, place = layout.source, f"layouts.{layout.name}.source"
    if layout.match or source.header.contains:
        return
    for key, names, how in (
        ("fixed.columns", source.fixed and source.fixed.names, "fixed.columns without header.contains"),
        ("header", source.header.names, 'header = "none"'),
    ):
        if names:
            raise FlowError(
                f"{place}.{key}",
                f'{how} leaves no names to recognise a file by: write match = "…", a pattern of the paths of its '
                f"files, below [layouts.{layout.name}]",
            )


def _sql_type(table: Table, kind: str, shape: str | None) -> str:
    if shape and kind != "string":
        raise FlowError(f"{table.place}.format", f"is for type 'string', not {kind!r}: remove one of the two")
    default = _FORMAT_SQL_TYPE.get(shape or "", _DEFAULT_SQL_TYPE[kind])
    text = table.text("sql_type", default=default, longest=40).upper()
    match, place = _SQL_TYPE.fullmatch(text), f"{table.place}.sql_type"
    if match is None:
        raise FlowError(
            place, f"{text!r} is not a known type: use e.g. BIGINT, DECIMAL(12,2), DATE or VARCHAR"
        )
    name = match["name"] or "DECIMAL"
    if name not in _FITTING[kind]:
        raise FlowError(
            place, f"{text} doesn't fit type {kind!r}: {kind} can be {', '.join(sorted(_FITTING[kind]))}"
        )
    if shape in _FORMAT_SQL_TYPE and not name.startswith(_FORMAT_SQL_TYPE[shape].removesuffix("TZ")):
        raise FlowError(place, f"{text} doesn't fit format {shape!r}: leave it out for {default}")
    if name == "DECIMAL" and not 1 <= int(match["digits"]) <= 38:
        raise FlowError(place, "DECIMAL holds 1 to 38 digits")
    if name == "DECIMAL" and int(match["scale"]) > int(match["digits"]):
        raise FlowError(place, "DECIMAL can't have more digits after the point than in total")
    return text.replace(", ", ",")


def _check_limits(column: Column, place: str) -> None:
    """Refuse limits that have no meaning for the type, so that none is silently without effect."""
    numeric = column.type in ("integer", "number")
    temporal = column.sql_type in ("DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ")
    for key, value in column.bounds.items():
        if numeric and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise FlowError(f"{place}.{key}", "must be a number")
        if temporal and not isinstance(value, str):
            raise FlowError(f"{place}.{key}", 'must be an ISO string such as "2024-12-31"')
        if not numeric and not temporal:
            raise FlowError(f"{place}.{key}", f"has no meaning for {column.sql_type}: remove it")
    limits = column.bounds | column.lengths
    for low, high in PAIRS:
        least, most = limits.get(low), limits.get(high)
        if least is None or most is None or isinstance(least, str) or isinstance(most, str):
            continue  # times can't be compared as texts: DuckDB checks them
        if least > most or (least == most and "exclusive" in low + high):
            raise FlowError(f"{place}.{low}", f"no value is within {low} = {least} and {high} = {most}")
    plain_text = column.sql_type == "VARCHAR"
    for key in (*column.lengths, *(["pattern"] if column.pattern else [])):
        if not plain_text:
            raise FlowError(f"{place}.{key}", f"has no meaning for {column.sql_type}: remove it")
    wanted: Any = {"integer": int, "number": (int, float), "boolean": bool, "string": str}[column.type]
    for value in column.enum:
        if not isinstance(value, wanted) or (isinstance(value, bool) and column.type != "boolean"):
            quote = ": put it in quotes" if wanted is str else ""  # 01 may have been read as 1
            raise FlowError(f"{place}.enum", f"{value!r} is not of type {column.type!r}{quote}")


def _rules(top: Table, key: str, on_fail: tuple[str, ...]) -> tuple[Rule, ...]:
    """Return a list of rules; the first of `on_fail` is the default."""
    rules = []
    for n, entry in enumerate(top.tables(key)):
        table = Table(f"{key}[{n}]", entry)
        rule = Rule(
            name=table.text("name", longest=128),
            sql=table.text("sql", longest=20_000),
            message=table.text("message", default="", longest=500),
            on_fail=table.choice("on_fail", on_fail, default=on_fail[0]),
        )
        table.refuse_unknown()
        rules.append(rule)
    return tuple(rules)


def _seeds(table: Table) -> tuple[Seed, ...]:
    seeds = []
    for name, entry in table.values.items():
        place = table.at(name)
        if not NAME.fullmatch(name):
            raise FlowError(place, f"{name!r} can't name a seed: it must match {NAME.pattern}")
        if not isinstance(entry, dict):
            raise FlowError(place, f"must be a table: write [seeds.{name}]")
        values = Table(place, entry)
        path, key = values.text("path", longest=4096), values.text("key", longest=128)
        seeds.append(Seed(name, path, key, values.flag("per_run")))
        values.refuse_unknown()
    return tuple(seeds)


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def json_schema(flow: Flow) -> dict[str, Any]:
    """Return the target's JSON Schema (draft 2020-12), which every mapped row satisfies.

    A column that isn't required may be null. Limits of dates are kept as `formatMinimum` and the like, annotations
    that validators know how to skip: JSON Schema's own `minimum` is for numbers. `format` is an annotation, too: it
    gives the meaning of a text, while times are in the notation of SQL, which differs from RFC 3339.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:lume:flow:{flow.ref}",
        "title": flow.ref,
        "type": "object",
        "properties": {column.name: _property(flow, column) for column in flow.columns},
        "required": [column.name for column in flow.columns if column.required],
        "additionalProperties": False,
    }


def _property(flow: Flow, column: Column) -> dict[str, Any]:
    written = flow.definition["columns"][column.name]
    schema: dict[str, Any] = {key: written[key] for key in ("title", "description") if key in written}
    schema["type"] = column.type if column.required else [column.type, "null"]
    schema |= {key: written[key] for key in ("format", "pattern", *LENGTHS) if key in written}
    if column.enum:
        schema["enum"] = [*column.enum] if column.required else [*column.enum, None]
    for key, value in column.bounds.items():
        numeric = column.type in ("integer", "number")
        schema[key if numeric else f"format{key[0].upper()}{key[1:]}"] = value
    return schema
