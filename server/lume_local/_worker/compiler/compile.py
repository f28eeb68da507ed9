"""Compiles a checked `Flow` to the form that a run needs: plain JSON of SQL fragments, each of them tried once.

Runs in a worker: the server process never loads DuckDB.
"""

# ruff: noqa: S608 - the parts of its SQL are constants, compiled or quoted.
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import duckdb
from attrs import asdict, frozen
from duckdb import DuckDBPyConnection

from lume_local._flow.databases import TableTarget
from lume_local._flow.definition import PAIRS, Column, Flow, Rule, quoted
from lume_local._flow.fields import FlowError
from lume_local._flow.source_settings import SourceSettings
from lume_local._flow.table_bounds import folded, is_pattern
from lume_local._shared.failing import require
from lume_local._worker.cleaners.library import statements
from lume_local._worker.compiler.columns import (
    RowCheck,
    cast,
    column_checks,
    literal,
    rule_check,
    storage_type,
)
from lume_local._worker.compiler.expressions import Expression, Judge, explained, first_line
from lume_local._worker.compiler.layouts import check_ties, checks_of_all
from lume_local._worker.compiler.tree import Lookup, Lookups
from lume_local._worker.profile import COUNTS, question
from lume_local._worker.seeds import make_empty_tables
from lume_local._worker.sources.formats.table_edges import missing_in
from lume_local._worker.sql import row_of, text
from lume_local._worker.statements import OUT, Relation, Statements

T = TypeVar("T")
Row = Callable[[Iterable[str]], str]
"""Returns a query for one row of NULLs with these columns."""

_TOGETHER = 100
"""Expressions per statement: a statement costs more than several of them, and after a mistake each is tried alone."""
_CANT_BE_RUN = "can't be run: "


def compile_flow(
    connection: DuckDBPyConnection,
    flow: Flow,
    cleaners: list[str] | None = None,
    *,
    made: Container[str] = (),
    rehearsed: bool = True,
) -> dict[str, Any]:
    """Return the compiled form of a flow. Raises `FlowError` with the place of the first mistake.

    Args:
        connection: a database without access to files.
        cleaners: the SQL of its cleaners from when this version was first compiled; None for the current one.
        made: the part of the cleaners' SQL that its database already has.
        rehearsed: whether to try the whole statement, too; not needed if it runs on rows right away.
    """
    cleaners = statements(flow.cleaners) if cleaners is None else cleaners
    for statement in cleaners:
        if statement not in made:
            connection.execute(statement)
    for reading in (readings := _readings(flow)):
        _require_extra(reading)
    lookups, judge = Lookups(connection, flow.seeds), Judge(connection)
    of_columns = Judge(connection, lookups=lookups if flow.seeds else None)
    of_columns.read_ahead(dict.fromkeys(column.sql for reading in readings for column in reading.columns))
    judged = [_judged(reading, of_columns, judge) for reading in readings]
    for one in judged:
        _check_aliases(flow, one)
    seeds, looked_up = _lookups(judge, flow, lookups.all)
    row = partial(_dummy, lookups)
    shapes = _shapes(judged)
    types = dict(zip(shapes, _types(connection, [*shapes.values()], row), strict=True))
    _try_limits(connection, flow)
    contract = _contract(connection, flow, judge) | {"seeds": seeds, "cleaners": cleaners}
    filters = [found for one in judged for found in one.filter]
    wheres = dict(zip(filters, _conditions(connection, filters, row), strict=True))
    forms = [_form(flow, one, types, [wheres[found] for found in one.filter], looked_up) for one in judged]
    for one, form in zip(judged, forms, strict=True):
        _check_names(one.reading, form)
    if rehearsed:
        make_empty_tables(connection, contract)
        _rehearse(connection, contract | forms[0], flow, judged[0].reading, row(forms[0]["sources"]))
        _rehearse_others(connection, contract | forms[0], judged, types, looked_up, row)
    if not flow.layouts:
        return contract | forms[0] | {"layouts": {}}
    layouts = {
        layout.name: form | {"match": list(layout.match), "required": one.required}
        for layout, one, form in zip(flow.layouts, judged, forms, strict=True)
    }
    of_all = _form_of_all(flow, layouts, looked_up)
    for form in layouts.values():
        del form["checks"]  # they are a third of its size, and those of all layouts say whose they are
    check_ties(layouts)
    return contract | of_all | {"layouts": layouts}


def _contract(connection: DuckDBPyConnection, flow: Flow, judge: Judge) -> dict[str, Any]:
    """Return the part of the compiled form that is about mapped rows."""
    return {
        "rules": _rules(connection, judge, flow),
        "expect": [_expectation(connection, flow, rule, n) for n, rule in enumerate(flow.expect)],
        "whole": list(flow.checks),
        "siblings": [],  # other versions of the flow; the server fills them in when it starts a run
        "unique": [column.name for column in flow.columns if column.unique],
        "references": [
            {"name": column.name, "sql_type": column.sql_type, **asdict(column.references)}
            for column in flow.columns
            if column.references
        ],
        # Whether the target's table, or the table of earlier runs' values, may reject rows.
        "judged_by_table": any(column.ever for column in flow.columns)
        or (isinstance(flow.mapped, TableTarget) and flow.mapped.on_violation == "reject"),
    }


@frozen
class _Reading:
    """How files are read: as the version says itself, or one of its layouts.

    Attributes:
        within: the place of what the layout says itself, such as `layouts.mueller.`; else empty.
        written: what is written there about columns.
    """

    source: SourceSettings
    columns: tuple[Column, ...]
    within: str
    written: dict[str, Any]

    def at(self, column: str, *key: str) -> str:
        """Return the place of a column, or of one of its keys."""
        return ".".join([f"{self.within if column in self.written else ''}columns", column, *key])


def _readings(flow: Flow) -> list[_Reading]:
    if not flow.layouts:
        return [_Reading(flow.source, flow.columns, "", {})]
    written = flow.definition["layouts"]
    return [
        _Reading(one.source, one.columns, f"layouts.{one.name}.", written[one.name].get("columns", {}))
        for one in flow.layouts
    ]


@frozen
class _Judged:
    """The expressions over a row of the source, of one reading."""

    reading: _Reading
    columns: list[Expression]
    where: Expression | None

    @property
    def placed(self) -> list[tuple[str, Expression]]:
        names = (column.name for column in self.reading.columns)
        return [(self.reading.at(name, "sql"), one) for name, one in zip(names, self.columns, strict=True)]

    @property
    def filter(self) -> list[tuple[str, Expression]]:
        return [(f"{self.reading.within}source.where", self.where)] if self.where else []

    @property
    def required(self) -> list[str]:
        """The source's columns that required columns read."""
        each = zip(self.reading.columns, self.columns, strict=True)
        return list(dict.fromkeys(name for column, one in each if column.required for name in one.reads))


def _judged(reading: _Reading, of_columns: Judge, judge: Judge) -> _Judged:
    columns = [
        of_columns.expression(reading.at(one.name, "sql"), one.sql, one.name if one.aliases else None)
        for one in reading.columns
    ]
    where = reading.source.where
    return _Judged(
        reading, columns, judge.expression(f"{reading.within}source.where", where) if where else None
    )


def _shapes(judged: list[_Judged]) -> dict[str, tuple[str, Expression]]:
    """Return one expression of each shape, with its place: most layouts differ only in names."""
    shapes: dict[str, tuple[str, Expression]] = {}
    for place, expression in chain.from_iterable(one.placed for one in judged):
        shapes.setdefault(expression.shape, (place, expression))
    return shapes


def _form(
    flow: Flow,
    judged: _Judged,
    types: dict[str, str],
    where: list[str],
    lookups: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return the part of the compiled form that reads files."""
    columns = judged.reading.columns
    sources, respelled = _sources(_reads(flow, judged))
    used = {number for expression in judged.columns for number in expression.lookups}
    each = enumerate(zip(columns, judged.columns, strict=True))
    return {
        **_source(flow, judged.reading.source),
        "sources": sources,
        "respelled": respelled,
        "aliases": {one.name.lower(): asdict(one.aliases) for one in columns if one.aliases},
        "lookups": [lookup for n, lookup in enumerate(lookups) if n in used],
        "columns": [_column(column, one, types[one.shape], n) for n, (column, one) in each],
        "checks": [asdict(check) for check in _checks(flow, judged)],
        "where": where[0] if where else None,
    }


def _form_of_all(
    flow: Flow, layouts: dict[str, dict[str, Any]], lookups: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return what applies to the rows of all layouts."""
    return {
        **_source(flow, flow.source),
        "sources": {},
        "respelled": [],
        "aliases": {},
        "lookups": lookups,
        "columns": [{"name": one.name, "ordered": _is_ordered(one)} for one in flow.columns],
        "checks": checks_of_all({name: form["checks"] for name, form in layouts.items()}),
        # What a layout without a filter has in its place, if another has one.
        "where": "{'v': true}" if any(form["where"] for form in layouts.values()) else None,
    }


def _source(flow: Flow, source: SourceSettings) -> dict[str, Any]:
    """Return the part of the compiled form that tells how to read the source."""
    return {
        "ref": flow.ref,
        "format": source.format,
        "csv": {"delim": source.delim, "quote": source.quote, "escape": source.escape},
        "encoding": source.encoding,
        "max_line_bytes": source.max_line_bytes,
        "header": asdict(source.header),
        "comment": source.comment,
        "footer": asdict(source.footer) if source.footer else None,
        "excel": asdict(source.sheets) | {"of_all": is_pattern(source.sheets.sheet)},
        "fixed": asdict(source.fixed) if source.fixed else None,
        "records": list(source.records),
        "on_unknown_columns": source.on_unknown_columns,
        "compression": source.compression,
        "members": list(source.members),
        "max_unpacked_bytes": source.max_unpacked_bytes,
        "null": list(source.null),
        "max_ratio": flow.max_ratio,
    }


def _check_names(reading: _Reading, compiled: dict[str, Any]) -> None:
    """Refuse names for files without a header that lack columns the flow reads."""
    fixed = (compiled["fixed"] or {}).get("names")
    names = fixed or compiled["header"]["names"]
    if names and (missing := missing_in(compiled | {"header": {"contains": []}}, names)):
        listed = ", ".join(map(repr, missing[:5]))
        raise FlowError(
            f"{reading.within}source.{'fixed.columns' if fixed else 'names'}",
            f"lacks {listed}, which {compiled['sources'].get(missing[0], 'the flow')} reads",
        )


_EXTRAS = {"excel": "openpyxl", "xml": "lxml"}


def _require_extra(reading: _Reading) -> None:
    if module := _EXTRAS.get(kind := reading.source.format):
        try:
            require(module, kind, f"format {kind!r}")
        except ModuleNotFoundError as error:
            raise FlowError(f"{reading.within}source.format", str(error)) from None


def _conditions(connection: DuckDBPyConnection, judged: list[tuple[str, Expression]], row: Row) -> list[str]:
    """Return a struct with the truth of each condition; it is NULL if the condition throws."""
    given = _types(connection, judged, row)
    for (place, _), type_ in zip(judged, given, strict=True):
        _check_is_condition(place, type_)
    return [one.tried(f"{{'v': CAST((\n{one.sql}\n) AS BOOLEAN)}}") for _, one in judged]


def _check_is_condition(place: str, given: str) -> None:
    if given not in ("BOOLEAN", '"NULL"'):
        raise FlowError(place, f"must be a condition (true or false), but is of type {given}")


def _reads(flow: Flow, judged: _Judged) -> list[tuple[str, Expression]]:
    """Return all expressions over a row of the source, with the places that define what they read."""
    reading, found = judged.reading, list[tuple[str, Expression]]()
    for column, expression in zip(reading.columns, judged.columns, strict=True):
        written = reading.written.get(column.name, flow.definition["columns"][column.name])
        keys = ["sql"] if isinstance(written, str) else [key for key in ("sql", "from") if key in written]
        found.append((reading.at(column.name, *keys[:1]), expression))
    return found + judged.filter


def _check_aliases(flow: Flow, judged: _Judged) -> None:
    """Refuse aliases without effect, and an expression that would miss the other spellings."""
    owners: dict[str, str] = {}
    reading = judged.reading
    for column in reading.columns:
        for alias in column.aliases.names if column.aliases else ():
            other = owners.setdefault(folded(alias), column.name)
            if other != column.name:
                raise FlowError(
                    reading.at(column.name, "from"),
                    f"{alias!r} means column {other!r} already: read {quoted(other)} in sql instead",
                )
    for column, expression in zip(reading.columns, judged.columns, strict=True):
        read = {name.lower() for name in expression.reads}
        if column.aliases and column.name.lower() not in read:
            raise FlowError(reading.at(column.name, "from"), "has no effect: let sql read value")
    for place, expression in _reads(flow, judged):
        for name in expression.reads:
            other = owners.get(folded(name), name)
            if other.lower() != name.lower():
                raise FlowError(
                    place,
                    f"reads {name!r}, an alias of column {other!r}: read {quoted(other)} (in that column: value), "
                    "which is whichever of them a source has",
                )


def _sources(judged: list[tuple[str, Expression]]) -> tuple[dict[str, str], list[str]]:
    """Return the source columns with the first place that reads each, and the columns spelled in several ways.

    `judged` are the expressions over a row of the source, with their places.
    """
    sources: dict[str, str] = {}
    seen: dict[str, str] = {}
    respelled: set[str] = set()
    for place, expression in judged:
        for name in expression.reads:
            if seen.setdefault(name.lower(), name) != name:
                respelled.add(name.lower())
            elif name not in sources:
                sources[name] = place
    return sources, sorted(respelled)


def _dummy(lookups: Lookups, names: Iterable[str]) -> str:
    """Return a row of NULLs with only these columns: with all, a thousand columns would need a million."""
    spelled = {name.lower(): name for name in names}.values()
    looked_up = [name for lookup in lookups.all for name in lookup.columns.values()]
    columns = ", ".join(f"NULL::VARCHAR AS {quoted(name)}" for name in (*spelled, *looked_up))
    return f"SELECT {columns or '1 AS _lume_none'}"


def _lookups(
    judge: Judge, flow: Flow, lookups: Sequence[Lookup]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the seeds, each with the columns that are looked up in it, and the lookups."""
    seeds, compiled = dict[str, Any](), list[dict[str, Any]]()
    tables = {seed.name: f"_lume_seed_{n}" for n, seed in enumerate(flow.seeds)}
    for seed in flow.seeds:
        columns = dict.fromkeys(name for one in lookups if one.seed == seed.name for name in one.columns)
        seeds[seed.name] = {"key": seed.key, "table": tables[seed.name], "columns": list(columns)}
    for one in lookups:
        key = judge.expression("", one.key)
        named = key.tried(f"{{'v': ({key.sql})::VARCHAR}}") + f" AS {one.key_name}"
        table = {"table": tables[one.seed], "columns": one.columns}
        compiled.append({"key": named, "key_name": one.key_name, **table})
    return seeds, compiled


def _types(connection: DuckDBPyConnection, judged: list[tuple[str, Expression]], row: Row) -> list[str]:
    """Return the SQL types of expressions, given with their places. Raises `FlowError` for one without a type."""

    def types(batch: list[tuple[str, Expression]]) -> list[str]:
        items = ", ".join(f"(\n{one.sql}\n) AS _lume_v{n}" for n, (_, one) in enumerate(batch))
        rows = row(name for _, one in batch for name in one.reads)
        return [
            str(found[1]) for found in connection.execute(f"DESCRIBE SELECT {items} FROM ({rows})").fetchall()
        ]

    return _in_batches(judged, types, lambda one: one.sql)


def _in_batches(
    items: list[tuple[str, T]],
    ask: Callable[[list[tuple[str, T]]], list[str]],
    sql: Callable[[T], str],
    problem: str = "",
) -> list[str]:
    """Return the answers for items, given with their places. Raises `FlowError` for the first that DuckDB refuses."""
    found: list[str] = []
    for start in range(0, len(items), _TOGETHER):
        batch = items[start : start + _TOGETHER]
        try:
            found += ask(batch)
        except duckdb.Error:
            for place, item in batch:
                try:
                    found += ask([(place, item)])
                except duckdb.Error as error:
                    raise FlowError(place, problem + explained(sql(item), first_line(error))) from None
    return found


def _column(column: Column, expression: Expression, given: str, index: int) -> dict[str, Any]:
    wrapped = expression.can_throw and expression.filled is None
    value = f"struct_extract(_lume_t{index}, 'v')" if wrapped else f"_lume_t{index}"
    inner, threw = f"(\n{expression.sql}\n) AS _lume_t{index}", "false"
    if expression.filled is not None:  # nothing throws, and an unread value needs no second evaluation
        inner += f", {expression.filled} AS _lume_filled{index}"
        threw = f"(_lume_t{index} IS NULL AND _lume_filled{index})"
    elif wrapped:
        # A struct separates "it threw" (no struct) from "it is NULL" (a struct with a NULL).
        tried = expression.tried(f"{{'v': (\n{expression.sql}\n)}}")
        inner, threw = f"{tried} AS _lume_t{index}", f"_lume_t{index} IS NULL"
    made, kept = cast(column, given, value, f"_lume_made{index}")
    return {
        "name": column.name,
        "inner": inner,
        "value": value,
        "threw": threw,
        "made": made,
        "kept": kept,
        "ordered": _is_ordered(column),
    }


def _is_ordered(column: Column) -> bool:
    return column.sql_type not in ("VARCHAR", "UUID")


def _try_limits(connection: DuckDBPyConnection, flow: Flow) -> None:
    """Try limits and patterns apart from the statement, so that the message can name the wrong one."""
    trials: list[tuple[str, str]] = []
    for column in flow.columns:
        place, stored = f"columns.{column.name}", storage_type(column.sql_type)
        trials += [(f"{place}.{key}", literal(value, stored)) for key, value in column.bounds.items()]
        trials += [(f"{place}.enum", literal(value, stored)) for value in column.enum]
        if column.pattern:
            trials.append((f"{place}.pattern", f"regexp_matches('', {text(column.pattern)})"))

    def tried(batch: list[tuple[str, str]]) -> list[str]:
        return [str(connection.execute(f"SELECT {', '.join(sql for _, sql in batch)}").fetchall())]

    _in_batches(trials, tried, str)
    for column in flow.columns:  # limits for numbers have been compared before
        times = {key: value for key, value in column.bounds.items() if isinstance(value, str)}
        for low, high in PAIRS:
            if low in times and high in times:
                least, most = (literal(times[key], storage_type(column.sql_type)) for key in (low, high))
                sign = ">=" if "exclusive" in low + high else ">"
                if connection.execute(f"SELECT {least} {sign} {most}").fetchone() == (True,):
                    both = f"{low} = {times[low]} and {high} = {times[high]}"
                    raise FlowError(f"columns.{column.name}.{low}", f"no value is within {both}")


def _rules(connection: DuckDBPyConnection, judge: Judge, flow: Flow) -> list[str]:
    known = {column.name.lower() for column in flow.columns}
    judged = []
    for n, rule in enumerate(flow.rules):
        judged.append((f"rules[{n}].sql", judge.expression(f"rules[{n}].sql", rule.sql)))
        for name in judged[-1][1].reads:
            if name.lower() not in known:
                there = ", ".join(column.name for column in flow.columns)
                raise FlowError(
                    judged[-1][0], f"reads {name!r}, but a rule sees the target's columns only: {there}"
                )
    return _conditions(connection, judged, partial(_typed, flow))


def _typed(flow: Flow, names: Iterable[str]) -> str:
    """Return a query for one mapped row of NULLs with these columns."""
    read = {name.lower() for name in names}
    columns = (one for one in flow.columns if one.name.lower() in read)
    items = ", ".join(f"NULL::{storage_type(one.sql_type)} AS {quoted(one.name)}" for one in columns)
    return f"SELECT {items or '1 AS _lume_none'}"


def _expectation(connection: DuckDBPyConnection, flow: Flow, rule: Rule, index: int) -> dict[str, str]:
    place = f"expect[{index}].sql"
    known = {*(column.name.lower() for column in flow.columns), *COUNTS}
    reads = Judge(connection, of_all_rows=True).expression(place, rule.sql).reads
    for name in reads:
        if name.lower() not in known:
            there = ", ".join([*(column.name for column in flow.columns), *COUNTS])
            raise FlowError(place, f"reads {name!r}, but an expectation sees only {there}")
    query = question(rule.sql, _typed(flow, reads), dict.fromkeys(COUNTS, 1))
    try:
        given = row_of(connection, f"DESCRIBE {query}")[1]
    except duckdb.Error as error:
        raise FlowError(
            place, f"must be a condition over all rows: {explained(rule.sql, first_line(error))}"
        ) from None
    _check_is_condition(place, given)
    reason = f"{rule.name}: {rule.message or f'{rule.sql.strip()} does not hold'}"
    return {"sql": rule.sql, "reason": reason, "on_fail": rule.on_fail}


def _checks(flow: Flow, judged: _Judged) -> Iterator[RowCheck]:
    for n, (column, expression) in enumerate(zip(flow.columns, judged.columns, strict=True)):
        yield from column_checks(column, n, expression.problem)
    yield from (rule_check(rule, n) for n, rule in enumerate(flow.rules))
    if (where := judged.where) is not None:
        yield RowCheck(OUT, "source.where", "filter")
        if where.can_throw or where.unread:
            yield RowCheck("_lume_where IS NULL", "source.where: can't be evaluated")


def _rehearse(
    connection: DuckDBPyConnection, compiled: dict[str, Any], flow: Flow, reading: _Reading, dummy: str
) -> None:
    """Run the whole statement on one row of NULLs: if it binds and runs here, it does so on every file."""
    try:
        _run(connection, compiled, compiled["sources"])
    except duckdb.Error as error:
        place = _culprit(connection, compiled, flow, reading, dummy)
        raise FlowError(place, _CANT_BE_RUN + first_line(error)) from None


def _run(connection: DuckDBPyConnection, compiled: dict[str, Any], names: Iterable[str]) -> None:
    spelled = tuple(names)
    raw = ", ".join(f"NULL::VARCHAR AS _lume_s{n}" for n in range(len(spelled))) or "1 AS _lume_none"
    relation = Relation(f"SELECT {raw}", spelled, {name: n for n, name in enumerate(spelled)})
    connection.execute(Statements(compiled, relation).stage()).fetchall()


def _rehearse_others(
    connection: DuckDBPyConnection,
    compiled: dict[str, Any],
    judged: list[_Judged],
    types: dict[str, str],
    lookups: list[dict[str, Any]],
    row: Row,
) -> None:
    """Run what other layouts read in other ways than the first, with which the whole statement has been tried."""
    columns: dict[tuple[str, str], tuple[str, tuple[Column, Expression]]] = {}
    filters: dict[str, tuple[str, Expression]] = {}
    for one in judged:
        for column, (place, expression) in zip(one.reading.columns, one.placed, strict=True):
            columns.setdefault((column.name, expression.shape), (place, (column, expression)))
        for place, expression in one.filter:
            filters.setdefault(expression.shape, (place, expression))

    def run(batch: list[tuple[str, tuple[Column, Expression]]]) -> list[str]:
        names = {name.lower(): name for _, (_, one) in batch for name in one.reads}.values()
        used = sorted({number for _, (_, one) in batch for number in one.lookups})
        made = [
            _column(column._replace(name=f"_lume_r{n}"), one, types[one.shape], n)
            for n, (_, (column, one)) in enumerate(batch)
        ]
        alone = {"columns": made, "checks": [], "rules": [], "where": None}
        alone["lookups"] = [lookups[n] for n in used]
        _run(connection, compiled | alone, names)
        return [""] * len(batch)

    def filtered(batch: list[tuple[str, Expression]]) -> list[str]:
        rows = row(name for _, one in batch for name in one.reads)
        items = ", ".join(one.sql for _, one in batch)
        return [str(connection.execute(f"SELECT {items} FROM ({rows})").fetchall())]

    _in_batches(list(columns.values())[len(judged[0].columns) :], run, lambda one: one[1].sql, _CANT_BE_RUN)
    _in_batches(list(filters.values())[len(judged[0].filter) :], filtered, lambda one: one.sql, _CANT_BE_RUN)


def _culprit(
    connection: DuckDBPyConnection, compiled: dict[str, Any], flow: Flow, reading: _Reading, dummy: str
) -> str:
    """Return the place of the first expression that can't be run alone; empty if all can."""
    tried = [(reading.at(one["name"], "sql"), one["inner"], dummy) for one in compiled["columns"]]
    tried += [(f"{reading.within}source.where", compiled["where"], dummy)] if compiled["where"] else []
    typed = _typed(flow, [column.name for column in flow.columns])
    tried += [(f"rules[{n}].sql", rule, typed) for n, rule in enumerate(compiled["rules"])]
    for place, sql, rows in tried:
        try:
            connection.execute(f"SELECT {sql} FROM ({rows})").fetchall()
        except duckdb.Error:
            return place
    return ""
