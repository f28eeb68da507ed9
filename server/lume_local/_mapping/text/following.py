"""The next version of a flow: the same with a sample's column names, and with the sample's layout. Pure."""

from collections.abc import Mapping, Sequence
from copy import deepcopy

from lume_local._flow.definition import quoted
from lume_local._flow.table_bounds import folded
from lume_local._mapping.decisions import NOTHING, ColumnDecision
from lume_local._mapping.lookups import looked_up, seed_tables
from lume_local._mapping.proposal import Choice, ColumnProposal, SampleSeen
from lume_local._mapping.target import Json, MappingTarget
from lume_local._mapping.text.rewrite import is_null, names_in, over_value, reads_value, renamed, words_in

_OF_ANY_FORMAT = ("uri", "where", "identity")
"""Keys of `[source]` that apply to any format and are kept in the next version."""
_PLACES = ("members", "json", "xml", "excel", "fixed")
"""Keys of `[source]` that locate the table in a file: the version needs the sample's."""


def following(
    target: MappingTarget,
    columns: Sequence[ColumnProposal],
    sample: SampleSeen,
    decisions: Mapping[str, ColumnDecision],
    seeds: dict[str, str] | None,
) -> Json:
    """Return the next version of the flow that is the target.

    Args:
        seeds: receives the files of lookups; None writes these into the expressions.
    """
    found = deepcopy(target.base) or {}
    found["version"] = target.version
    chosen = {one.name: one.chosen.sources for one in columns if one.chosen is not None}
    # Columns without a source come last, when it is known which names belong to others.
    for column in sorted(columns, key=lambda one: is_null(found["columns"][one.name].get("sql", ""))):
        if decisions.get(column.name, NOTHING).is_open:
            found["columns"][column.name] = _unread(found["columns"][column.name]) | {"sql": "NULL"}
        elif column.chosen is not None:
            _read(found, column.name, column.chosen, target.name, seeds, chosen)
    if seeds:
        found["seeds"] = found.get("seeds", {}) | seed_tables(seeds)
    if source_differs(target, sample):
        source = found.get("source", {})
        kept = {key: one for key, one in source.items() if key in _OF_ANY_FORMAT}
        is_same_format = source.get("format", "csv") == sample.source.get("format", "csv")
        found["source"] = {**(source if is_same_format else {}), **sample.source, **kept}
    return found


def _read(
    found: Json,
    name: str,
    chosen: Choice,
    flow: str,
    seeds: dict[str, str] | None,
    sources: Mapping[str, Sequence[str]],
) -> None:
    """Add the choice to what the column reads; replace it if other columns are combined, or it had no source.

    Args:
        sources: the chosen sources of every column.
    """
    columns: dict[str, Json] = found["columns"]
    before = columns[name]
    own = before.get("sql")
    if chosen.sql is not None and chosen.sql != own and quoted(chosen.sources[0]) in chosen.sql:
        meant = _meant(columns, name, sources)
        owned = {one: owner for one in chosen.sources if (owner := meant.get(folded(one)))}
        columns[name] = _unread(before) | {"sql": renamed(chosen.sql, owned)}
        return
    read = ([name] if own is None else _only_name(own, name) or [name])[0]
    if own is not None and chosen.sql != own and _only_name(own, name) is None:
        meant = _meant(columns, name, sources)
        columns[name] = _unread(before)
        if any(folded(one) in meant for one in (name, *chosen.sources)):
            read = meant.get(folded(chosen.sources[0])) or chosen.sources[0]
        elif chosen.sources != [name]:
            columns[name] = {"from": chosen.sources, **columns[name]}
    else:
        for source in chosen.sources:
            entry = _with_alias(columns[name], name, source)
            if not _is_taken(columns, name, source):
                columns[name] = entry
    wanted = "value" if chosen.sql is None else over_value(chosen.sql, "value")
    if chosen.lookup is not None:
        wanted = looked_up(chosen.lookup, wanted, f"{flow}_{name}_values", seeds, found.get("seeds", {}))
    elif chosen.sql == own:
        return
    columns[name] = _by(columns[name], name, read, wanted)


def _unread(entry: Json) -> Json:
    """Return the column without `from` and `sql`."""
    return {key: one for key, one in entry.items() if key not in ("from", "sql")}


def _by(entry: Json, name: str, read: str, sql: str) -> Json:
    """Return the column read by an expression over `value`, or without aliases over the only name that it reads."""
    given = {"from": entry["from"]} if "from" in entry else {}
    if not given:
        sql = over_value(sql, quoted(read))
    own = "value" if given else quoted(name)
    return {**given, **({} if sql == own else {"sql": sql}), **_unread(entry)}


def _meant(
    columns: Mapping[str, Json], name: str, chosen: Mapping[str, Sequence[str]]
) -> dict[str, str | None]:
    """Map folded names to the other column that they are an alias of, or to None if they are read themselves."""
    found: dict[str, str | None] = {}
    for other, entry in columns.items():
        if other == name:
            continue
        given = aliases_of(entry)
        if given is not None:
            found |= {folded(one): other for one in (*given, other)}
            continue
        sql = entry.get("sql", quoted(other))
        for one in (*names_in(sql), *words_in(sql), *chosen.get(other, ())):
            found.setdefault(folded(one), None)
    return found


def aliases_of(entry: Json) -> list[str] | None:
    """Return the other names of a column; None if it has no `from`."""
    given = entry.get("from")
    names: list[str] | None = given.get("first", []) if isinstance(given, dict) else given
    return names


def names_read(definition: Json) -> tuple[set[str], set[str]]:
    """Return the names that a flow's columns read, in lower case, and their aliases, folded."""
    spelled, aliases = set[str](), set[str]()
    for name, entry in definition["columns"].items():
        sql = entry.get("sql", quoted(name))
        words = {one.lower() for one in (*names_in(sql), *words_in(sql))}
        if (given := aliases_of(entry)) is not None:
            aliases |= set(map(folded, (*given, name)))
            words.discard("value")
        spelled |= words
    return spelled, aliases


def _is_taken(columns: Mapping[str, Json], name: str, source: str) -> bool:
    """Return whether another column of the flow already has this alias."""
    for other, entry in columns.items():
        names = aliases_of(entry) if other != name else None
        if names is not None and folded(source) in map(folded, [*names, other]):
            return True
    return False


def _with_alias(entry: Json, name: str, source: str) -> Json:
    """Return the column with one more alias; its expression reads whichever name a source has."""
    if (names := aliases_of(entry)) is not None:
        if folded(source) in map(folded, [*names, name]):
            return entry
        several = [*names, source]
        return entry | {"from": {"first": several} if isinstance(entry["from"], dict) else several}
    sql = entry.get("sql")
    known = [name] if sql is None else _only_name(sql, name)
    if known is None or source in known:
        return entry
    rest = {key: one for key, one in entry.items() if key != "sql"}
    over = "value" if sql is None else over_value(sql, "value")
    return {"from": [*known, source], **({} if over == "value" else {"sql": over}), **rest}


def _only_name(sql: str, name: str) -> list[str] | None:
    """Return the only name that an expression reads; None if it reads several."""
    read = names_in(sql)
    return read if len(read) == 1 else [name] if not read and reads_value(sql) else None


def is_read_otherwise(before: Json, after: Json) -> bool:
    """Return whether a column is read by another expression than before; another name alone does not count."""
    return _over_any_name(before) != _over_any_name(after)


def _over_any_name(entry: Json) -> str:
    sql = entry.get("sql")
    if sql is None:
        return "value"
    return over_value(sql, "value") if reads_value(sql) or len(names_in(sql)) == 1 else sql


def source_differs(target: MappingTarget, sample: SampleSeen) -> bool:
    """Return whether the sample's layout differs from the one that the flow version reads."""
    known, given = (target.base or {}).get("source", {}), sample.source
    if known.get("format", "csv") != given.get("format", "csv"):
        return True
    if any(known.get(key) != given[key] for key in _PLACES if key in given):
        return True
    default = {"delim": ",", "encoding": "utf-8"}
    is_csv = given.get("format") == "csv"
    return is_csv and default | given.get("csv", {}) != default | known.get("csv", {})
