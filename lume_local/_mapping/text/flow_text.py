"""A proposal as a flow version: its definition, and the file that a person reviews. Pure."""

import re
import textwrap
from collections.abc import Container, Iterator, Mapping, Sequence
from copy import deepcopy

from lume_local._flow.aliases import folded
from lume_local._flow.definition import quoted
from lume_local._mapping.lookups import as_sql, seed_text
from lume_local._mapping.proposal import ColumnProposal, SampleSeen
from lume_local._mapping.target import Json, MappingTarget
from lume_local._mapping.text import toml_text
from lume_local._mapping.text.rewrite import names_in, over_value, reads_value, renamed

_WIDTH = 110
_ORDER = ("source", "target", "rejects", "engine", "columns", "rules", "expect", "seeds")
_KEY_FOR_LOOKUPS = "source"
_OF_ANY_FORMAT = ("uri", "where", "identity")
"""What a flow says of its source whatever the format: the next version keeps it."""
_PLACES = ("members", "json", "xml", "excel", "fixed")
"""Where in a file the table is: what a sample needs, its version must have."""


def definition_of(
    target: MappingTarget, columns: Sequence[ColumnProposal], sample: SampleSeen, *, inline: bool = False
) -> tuple[Json, dict[str, str]]:
    """The flow version in its JSON form, and the seed files that it needs: none if lookups are `inline`."""
    if target.base is not None:
        return _next(target, columns, sample), {}
    seeds: dict[str, str] | None = None if inline else {}
    aliased = {source: one.name for one in columns if _has_aliases(one, columns) for source in _sources(one)}
    found: Json = {
        "flow": target.name,
        "version": target.version,
        "source": dict(sample.source),
        "columns": {},
    }
    for column in columns:
        by_alias = _has_aliases(column, columns)
        others = {source: name for source, name in aliased.items() if name != column.name}
        found["columns"][column.name] = {
            **_read(column, target.name, others, seeds, by_alias=by_alias),
            **_typed(column),
        }
    if seeds:
        names = [path.rpartition("/")[2].removesuffix(".csv") for path in seeds]
        found["seeds"] = {
            name: {"path": path, "key": _KEY_FOR_LOOKUPS} for name, path in zip(names, seeds, strict=True)
        }
    return found, seeds or {}


def _sources(column: ColumnProposal) -> list[str]:
    return column.chosen.sources if column.chosen is not None else []


def _has_aliases(column: ColumnProposal, columns: Sequence[ColumnProposal]) -> bool:
    """Whether the source column is read by an alias.

    Not if it has the target's name, or there are several; nor if another column is read from one of that name, which
    could then mean either.
    """
    chosen = column.chosen
    if chosen is None or chosen.sources == [column.name]:
        return False
    if chosen.sql is not None and quoted(chosen.sources[0]) in chosen.sql:
        return False
    of_others = {folded(source) for one in columns if one is not column for source in _sources(one)}
    return folded(column.name) not in of_others


def _read(
    column: ColumnProposal,
    flow: str,
    others: Mapping[str, str],
    seeds: dict[str, str] | None,
    *,
    by_alias: bool,
) -> Json:
    """`from` and `sql`: what the column is read from.

    Args:
        others: the source columns that are aliases of other columns, by whose names they are read.
        seeds: gets the file of the lookup; None if that is to be written into the expression.
    """
    chosen = column.chosen
    if chosen is None:
        return {"sql": "NULL"}
    sql = chosen.sql
    if chosen.lookup is not None and seeds is None:
        sql = as_sql(chosen.lookup, "value")
    elif chosen.lookup is not None and seeds is not None:
        seed = _seed_name(f"{flow}_{column.name}_values", seeds)
        seeds[f"seeds/{seed}.csv"] = seed_text(chosen.lookup)
        # What has no counterpart stays as it is, so that the enumeration rejects it.
        sql = f"coalesce(seed('{seed}', trim(value), 'target'), value)"
    if by_alias:
        return {"from": chosen.sources} | ({} if sql is None else {"sql": renamed(sql, others)})
    if sql is None and chosen.sources == [column.name]:
        return {}
    name = quoted(chosen.sources[0])
    return {
        "sql": name if sql is None else renamed(over_value(sql, name) if reads_value(sql) else sql, others)
    }


def _seed_name(wanted: str, taken: Container[str]) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", wanted)[:60].lstrip("_-") or "values"
    while f"seeds/{name}.csv" in taken:
        name += "_"
    return name


def _typed(column: ColumnProposal) -> Json:
    return {key: value for key, value in column.definition.items() if key != "sql"}


def _next(target: MappingTarget, columns: Sequence[ColumnProposal], sample: SampleSeen) -> Json:
    """The next version of a flow: the same with the names that the sample has, and how the sample is written."""
    found = deepcopy(target.base) or {}
    found["version"] = target.version
    for column in columns:
        for source in _sources(column):
            entry = _with_alias(found["columns"][column.name], column.name, source)
            if not _is_taken(found["columns"], column.name, source):
                found["columns"][column.name] = entry
    if source_differs(target, sample):
        source = found.get("source", {})
        kept = {key: one for key, one in source.items() if key in _OF_ANY_FORMAT}
        is_same_format = source.get("format", "csv") == sample.source.get("format", "csv")
        found["source"] = {**(source if is_same_format else {}), **sample.source, **kept}
    return found


def _is_taken(columns: Mapping[str, Json], name: str, source: str) -> bool:
    """Whether another column of the flow has this alias, which can then not be one of this column, too."""
    for other, entry in columns.items():
        given = entry.get("from") if other != name else None
        names = given.get("first", []) if isinstance(given, dict) else given
        if names is not None and folded(source) in map(folded, [*names, other]):
            return True
    return False


def _with_alias(entry: Json, name: str, source: str) -> Json:
    """The column with one more name that sources have for it; its expression reads whichever a source has."""
    given = entry.get("from")
    if given is not None:
        names = given["first"] if isinstance(given, dict) else given
        if folded(source) in map(folded, [*names, name]):
            return entry
        several = [*names, source]
        return entry | {"from": {"first": several} if isinstance(given, dict) else several}
    sql = entry.get("sql")
    known = [name] if sql is None else _only_name(sql, name)
    if known is None or source in known:
        return entry
    rest = {key: one for key, one in entry.items() if key != "sql"}
    over = "value" if sql is None else over_value(sql, "value")
    return {"from": [*known, source], **({} if over == "value" else {"sql": over}), **rest}


def _only_name(sql: str, name: str) -> list[str] | None:
    """The name that an expression reads its only column by; None if it reads several."""
    read = names_in(sql)
    return read if len(read) == 1 else [name] if not read and reads_value(sql) else None


def source_differs(target: MappingTarget, sample: SampleSeen) -> bool:
    """Whether the sample is written in another way than the flow version reads."""
    source = (target.base or {}).get("source", {})
    if any(source.get(key) != sample.source[key] for key in _PLACES if key in sample.source):
        return True
    defaults = {"format": "csv", "csv": {"delim": ",", "encoding": "utf-8"}}
    for key, default in defaults.items():
        given = sample.source.get(key, default if key == "format" else {})
        known = source.get(key, default if key == "format" else {})
        if isinstance(default, dict):
            given, known = default | given, default | known
            if sample.source.get("format") != "csv":
                continue
        if given != known:
            return True
    return False


# -- the file


def file_text(
    target: MappingTarget,
    definition: Json,
    columns: Sequence[ColumnProposal],
    samples: Sequence[SampleSeen],
    doubts: Sequence[str],
    unused: Sequence[str],
) -> str:
    """The text of the flow file, with the evidence as comments."""
    shown = ", ".join(sample.name.rpartition("/")[2] for sample in samples)
    lines = [
        *_comment(
            f"Proposed for {target.shown} from {shown}: review every column, then run `lume flow try`."
        ),
        *(
            line
            for doubt in doubts
            for line in _comment(f"Decide: {doubt}{'' if doubt.endswith('?') else '.'}")
        ),
        *(_comment(f"Not read: {', '.join(unused)}.") if unused else []),
        *toml_text.entries({key: one for key, one in definition.items() if not _is_table(one)}),
    ]
    order = sorted((key for key, one in definition.items() if _is_table(one)), key=_place)
    rest = {key: definition[key] for key in order}
    about = {column.name: column for column in columns}
    for name, content in rest.items():
        if name in ("columns", "seeds"):
            for entry, table in content.items():
                lines.append("")
                if name == "columns" and entry in about:
                    lines += _about(about[entry])
                lines += toml_text.table(f"{name}.{toml_text.key(entry)}", table)
        elif isinstance(content, list):
            for table in content:
                lines += ["", f"[[{name}]]", *toml_text.entries(table)]
        else:
            lines += ["", *toml_text.table(name, content)]
    return "\n".join(lines) + "\n"


def _place(key: str) -> int:
    """Where a table stands in the file."""
    return _ORDER.index(key) if key in _ORDER else len(_ORDER)


def _is_table(value: object) -> bool:
    is_list = isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
    return isinstance(value, dict) or is_list


def _about(column: ColumnProposal) -> Iterator[str]:
    """Why a column is read so, what else it might be, and what is left to decide."""
    chosen = column.chosen
    if chosen is None:
        yield from _comment("Unmapped: no column of the sample is likely enough.")
    else:
        shown = " and ".join(map(repr, chosen.sources))
        yield from _comment(
            f"{shown}: {chosen.grade.value} ({chosen.likely:.2f}). {'; '.join(chosen.evidence)}."
        )
        for doubt in chosen.doubts:
            yield from _comment(f"Decide: {doubt}.")
    for other in column.candidates:
        if other is not chosen:
            shown = " and ".join(map(repr, other.sources))
            yield from _comment(f"Or {shown}: {other.grade.value} ({other.likely:.2f}).")
    for note in column.notes:
        yield from _comment(f"Not checked: {note}.")


def _comment(text: str) -> list[str]:
    safe = "".join(letter if letter.isprintable() else " " for letter in text)
    return [f"# {line}" for line in textwrap.wrap(safe, _WIDTH, break_on_hyphens=False)]
