"""The flow file of a proposal: a new flow, or a next version with the names and layout of a sample. Pure."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy

from lume_local._flow.definition import quoted
from lume_local._flow.table_bounds import folded
from lume_local._mapping import toml_text
from lume_local._mapping.decisions import APPROVED, FLAGGED, NOTHING, ColumnDecision
from lume_local._mapping.lookups import looked_up, seed_tables
from lume_local._mapping.proposal import Choice, ColumnProposal, SampleSeen
from lume_local._mapping.rewrite import is_null, names_in, over_value, reads_value, renamed, words_in
from lume_local._mapping.target import Json, MappingTarget

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
            _read_choice(found, column.name, column.chosen, target.name, seeds, chosen)
    if seeds:
        found["seeds"] = found.get("seeds", {}) | seed_tables(seeds)
    if source_differs(target, sample):
        source = found.get("source", {})
        kept = {key: one for key, one in source.items() if key in _OF_ANY_FORMAT}
        is_same_format = source.get("format", "csv") == sample.source.get("format", "csv")
        found["source"] = {**(source if is_same_format else {}), **sample.source, **kept}
    return found


def _read_choice(
    found: Json,
    name: str,
    chosen: Choice,
    flow: str,
    seeds: dict[str, str] | None,
    sources: Mapping[str, Sequence[str]],
) -> None:
    """Add the choice to the column's sources; replace it if other columns are combined, or it had no source.

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
            others = (
                (other, names)
                for other, entry in columns.items()
                if other != name and (names := aliases_of(entry)) is not None
            )
            if not any(folded(source) in map(folded, [*names, other]) for other, names in others):
                columns[name] = _with_alias(columns[name], name, source)
    wanted = "value" if chosen.sql is None else over_value(chosen.sql, "value")
    if chosen.lookup is not None:
        wanted = looked_up(chosen.lookup, wanted, f"{flow}_{name}_values", seeds, found.get("seeds", {}))
    elif chosen.sql == own:
        return
    # Without aliases the expression is over the only name that the column reads.
    given = {"from": columns[name]["from"]} if "from" in columns[name] else {}
    sql = wanted if given else over_value(wanted, quoted(read))
    is_plain = sql == ("value" if given else quoted(name))
    columns[name] = {**given, **({} if is_plain else {"sql": sql}), **_unread(columns[name])}


def _unread(entry: Json) -> Json:
    """Return the column without `from` and `sql`."""
    return {key: one for key, one in entry.items() if key not in ("from", "sql")}


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


_WIDTH = 110
_ORDER = ("source", "target", "rejects", "engine", "columns", "rules", "expect", "seeds")


def definition_of(
    target: MappingTarget,
    columns: Sequence[ColumnProposal],
    sample: SampleSeen,
    decisions: Mapping[str, ColumnDecision],
    *,
    inline: bool = False,
) -> tuple[Json, dict[str, str]]:
    """Return the flow version in its JSON form, and its seed files: none if lookups are `inline`."""
    seeds: dict[str, str] | None = None if inline else {}
    if target.base is not None:
        return following(target, columns, sample, decisions, seeds), seeds or {}
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
            **{key: value for key, value in column.definition.items() if key != "sql"},
        }
    if seeds:
        found["seeds"] = seed_tables(seeds)
    return found, seeds or {}


def _sources(column: ColumnProposal) -> list[str]:
    return column.chosen.sources if column.chosen is not None else []


def _has_aliases(column: ColumnProposal, columns: Sequence[ColumnProposal]) -> bool:
    """Return whether the source column is read by an alias.

    Not if it has the target's name or there are several sources, nor if another column reads a source with the
    target's name, which would be ambiguous.
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
    """Return `from` and `sql` of the column.

    Args:
        others: the source columns that are aliases of other columns and so are read by those names.
        seeds: receives the file of the lookup; None writes the lookup into the expression.
    """
    chosen = column.chosen
    if chosen is None:
        return {"sql": "NULL"}
    sql = chosen.sql
    if chosen.lookup is not None:
        # A value without a member stays unchanged, so that the enumeration rejects it.
        sql = looked_up(chosen.lookup, "value", f"{flow}_{column.name}_values", seeds)
    if by_alias:
        return {"from": chosen.sources} | ({} if sql is None else {"sql": renamed(sql, others)})
    if sql is None and chosen.sources == [column.name]:
        return {}
    name = quoted(chosen.sources[0])
    return {
        "sql": name if sql is None else renamed(over_value(sql, name) if reads_value(sql) else sql, others)
    }


# -- the file


def file_text(
    target: MappingTarget,
    definition: Json,
    columns: Sequence[ColumnProposal],
    samples: Sequence[SampleSeen],
    doubts: Sequence[str],
    unused: Sequence[str],
    decisions: Mapping[str, ColumnDecision],
) -> str:
    """Return the text of the flow file, with the evidence and a person's decisions as comments."""
    shown = ", ".join(sample.name.rpartition("/")[2] for sample in samples)
    lines = [
        *_comment(
            f"Proposed for {target.shown} from {shown}: review every column, then run `lume flow try`."
        ),
        *(line for one in _reviewed(columns, decisions) for line in _comment(one)),
        *(
            line
            for doubt in doubts
            for line in _comment(f"Decide: {doubt}{'' if doubt.endswith('?') else '.'}")
        ),
        *(_comment(f"Not read: {', '.join(unused)}.") if unused else []),
        *toml_text.entries({key: one for key, one in definition.items() if not _is_table(one)}),
    ]
    about = {column.name: column for column in columns}
    tables = [(name, content) for name, content in definition.items() if _is_table(content)]
    # Tables that the order does not name come last.
    for name, content in sorted(tables, key=lambda one: (*_ORDER, one[0]).index(one[0])):
        if name in ("columns", "seeds"):
            for entry, table in content.items():
                lines.append("")
                if name == "columns" and entry in about:
                    lines += _about(about[entry], decisions.get(entry, NOTHING))
                lines += toml_text.table(f"{name}.{toml_text.key(entry)}", table)
        elif isinstance(content, list):
            for table in content:
                lines += ["", f"[[{name}]]", *toml_text.entries(table)]
        else:
            lines += ["", *toml_text.table(name, content)]
    return "\n".join(lines) + "\n"


def _is_table(value: object) -> bool:
    is_list = isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
    return isinstance(value, dict) or is_list


def _about(column: ColumnProposal, decision: ColumnDecision) -> Iterator[str]:
    """Yield why a column is read this way, a person's decisions, alternatives, and open questions."""
    chosen = column.chosen
    end = "" if decision.note.endswith((".", "?", "!")) else "."
    note = f" {decision.note}{end}" if decision.note else ""
    is_left_open = _is_left_open(column, decision)
    if decision.review == FLAGGED:
        yield from _comment(f"FLAGGED.{note}")
    if is_left_open:
        yield from _comment("Left open by a person." + (note if decision.review != FLAGGED else ""))
    elif decision.review == APPROVED:
        yield from _comment(f"Approved.{note}")
    if decision.sources:
        yield from _comment("Chosen by a person.")
    if is_left_open:
        pass
    elif chosen is None:
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


# -- a person's decisions in words


def _is_left_open(column: ColumnProposal, decision: ColumnDecision) -> bool:
    """Return whether a person has left the column without a source."""
    return column.chosen is None and (decision.is_open or decision.review == APPROVED)


def _reviewed(columns: Sequence[ColumnProposal], decisions: Mapping[str, ColumnDecision]) -> Iterator[str]:
    """Yield the progress of the review; nothing if there was none."""
    if not any(one.review for one in decisions.values()):
        return
    found: dict[str, list[str]] = {}
    for column in columns:
        decision = decisions.get(column.name, NOTHING)
        if decision.review == FLAGGED:
            state = "flagged"
        elif _is_left_open(column, decision):
            state = "left open"
        else:
            state = "approved" if decision.review == APPROVED else "not reviewed"
        found.setdefault(state, []).append(column.name)
    for state in ("approved", "flagged", "left open", "not reviewed"):
        if names := found.get(state):
            yield f"{state.capitalize()}: {', '.join(names)}."
