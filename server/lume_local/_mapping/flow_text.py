"""The flow file of a proposal: a new flow, or a next version that has one more layout. Pure."""

import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import chain
from types import MappingProxyType
from typing import Any

from lume_local._flow.definition import Column, quoted, read_definition
from lume_local._flow.fields import FlowError
from lume_local._flow.source_settings import FINDING, OBJECTS, SHARED, SQL
from lume_local._flow.table_bounds import folded
from lume_local._mapping import toml_text
from lume_local._mapping.decisions import APPROVED, FLAGGED, NOTHING, ColumnDecision, in_layout
from lume_local._mapping.lookups import looked_up, seed_tables
from lume_local._mapping.proposal import ColumnProposal, LayoutProposal, SampleSeen
from lume_local._mapping.rewrite import is_null, over_value, reads_value, renamed, spelled_in
from lume_local._mapping.target import Json, MappingTarget


def with_layouts(base: Json) -> Json:
    """Return a version; one without layouts gets one, called as the version, that reads what it has read.

    Raises:
        FlowError: its source is a query.
    """
    if "layouts" in base:
        return base
    flow, source = read_definition(base), base.get("source", {})
    if flow.source.format == SQL:
        raise FlowError("target", f"{flow.ref} reads a query, which has no layouts: name another target")
    found, contract, columns = deepcopy(base), dict[str, Json](), dict[str, Any]()
    for column in flow.columns:
        entry = base["columns"][column.name]
        contract[column.name] = _unread(entry)
        if column.aliases is None and not spelled_in(column.sql):
            contract[column.name] |= {} if is_null(column.sql) else {"sql": column.sql}  # of any file
        else:
            columns[column.name] = _as_before(column, entry, flow.source.format)
    name = "".join(one if one.isalnum() or one == "-" else "_" for one in flow.version)
    own = {key: one for key, one in source.items() if key not in SHARED}
    layout: Json = {"source": _recognisable(own), "columns": columns}
    if not has_names(layout["source"]):
        layout = {"match": f"{name}/*", **layout}
    found["source"] = {key: one for key, one in source.items() if key in SHARED}
    found |= {"columns": contract, "layouts": {name: {key: one for key, one in layout.items() if one}}}
    return {key: one for key, one in found.items() if one or key != "source"}


def _as_before(column: Column, entry: Json, form: str) -> Any:
    """Return how a layout reads a column that was read without layouts, where its own name was an alias, too."""
    if column.aliases is None:
        return column.sql
    names, is_first = list(column.aliases.names), column.aliases.first
    if form not in OBJECTS:  # a name that a header may spell in other ways is not repeated
        given = entry["from"]["first"] if is_first else entry["from"]
        same = str.lower if is_first else folded
        names = [one for one in names if one in given or same(one) not in map(same, given)]
    return {"from": {"first": names} if is_first else names} | (
        {"sql": entry["sql"]} if "sql" in entry else {}
    )


def has_names(source: Json) -> bool:
    """Return whether the settings read names in a file, by which it is recognised."""
    header = _recognisable(source).get("header")
    return header != "none" and (source.get("format") != "fixed" or isinstance(header, dict))


def _recognisable(source: Json) -> Json:
    """Return settings in which columns of fixed width are recognised by the names above them, if there are any."""
    header, fixed = source.get("header"), source.get("fixed", {}).get("columns")
    if not fixed or header in (None, "none") or (isinstance(header, dict) and "contains" in header):
        return source
    return source | {"header": {"contains": list(fixed)}}


def _unread(entry: Json) -> Json:
    """Return the column without `from` and `sql`."""
    return {key: one for key, one in entry.items() if key not in ("from", "sql")}


def names_read(columns: Iterable[Column]) -> tuple[set[str], set[str]]:
    """Return the names that columns read, in lower case, and their aliases, folded."""
    spelled, aliases = set[str](), set[str]()
    for column in columns:
        words = spelled_in(column.sql)
        if column.aliases is not None:
            aliases |= set(map(folded, column.aliases.names))
            words -= {"value", column.name.lower()}
        spelled |= words
    return spelled, aliases


def definition_of(
    target: MappingTarget,
    layouts: Sequence[LayoutProposal],
    decisions: Mapping[str, ColumnDecision],
    *,
    inline: bool = False,
) -> tuple[Json, dict[str, str]]:
    """Return the flow version in its JSON form, and its seed files: none if lookups are `inline`."""
    seeds: dict[str, str] | None = None if inline else {}
    has_layouts = any(layout.name for layout in layouts)
    if target.base is not None:
        found = deepcopy(with_layouts(target.base) if has_layouts else target.base)
        found["version"] = target.version
    else:
        found = {"flow": target.name, "version": target.version, "source": {}, "columns": _contract(layouts)}
        found |= target.tables
    known, exact = [*found.get("seeds", {})], set[str]()
    if has_layouts and target.base is not None:
        columns = chain(*(one.columns for one in read_definition(found).layouts))
        exact = set(map(folded, names_read(columns)[0]))
    for layout in layouts:
        own = in_layout(decisions, layout.name)
        changed = [
            one
            for one in layout.columns
            if layout.is_new or own.get(one.name, NOTHING).changes or (one.chosen and one.chosen.lookup)
        ]
        entries = found["columns"] | found.get("layouts", {}).get(layout.name, {}).get("columns", {})
        kept = {
            name: entry["from"]
            for name, entry in entries.items()
            if not layout.is_new
            and isinstance(entry, dict)
            and "from" in entry
            and own.get(name, NOTHING).sources is None
        }
        read = _columns(changed, layout, target.name, seeds, known, exact if layout.is_new else (), kept)
        if not layout.name:
            found["source"] = layout.source if layout.is_new else found.get("source", {})
            found["columns"] |= {name: one | _unread(found["columns"][name]) for name, one in read.items()}
        else:
            _add(found, layout, read, [name for name, one in own.items() if one.is_open])
    if seeds:
        found["seeds"] = found.get("seeds", {}) | seed_tables(seeds)
    return {key: one for key, one in found.items() if one or key != "source"}, seeds or {}


def _contract(layouts: Sequence[LayoutProposal]) -> dict[str, Json]:
    """Return the columns without their sources: a type that the target lacks is that of the first source."""
    found = {}
    for several in zip(*(layout.columns for layout in layouts), strict=True):
        column = next((one for one in several if one.chosen is not None), several[0])
        found[column.name] = _unread(column.definition)
    return found


def _add(found: Json, layout: LayoutProposal, read: Mapping[str, Json], left_open: Collection[str]) -> None:
    """Add a layout to the version, or change its columns.

    Args:
        left_open: the columns that a person has left without a source, whatever the contract says.
    """
    entry = found.setdefault("layouts", {}).setdefault(layout.name, {})
    columns = dict(entry.get("columns", {}))
    for name, one in read.items():
        default = found["columns"][name]
        # A constant of the contract is for all layouts.
        reads = "from" in default or spelled_in(default.get("sql", "NULL"))
        if one != {"sql": "NULL"} or name in columns or reads or ("sql" in default and name in left_open):
            columns[name] = one.get("sql", quoted(name)) if "from" not in one else one
    entry["columns"] = columns
    if not layout.is_new:
        return
    if layout.match:
        entry["match"] = layout.match[0] if len(layout.match) == 1 else layout.match
    settings = {key: one for key, one in layout.source.items() if key not in FINDING}
    entry |= {"source": _recognisable(settings), "columns": entry.pop("columns")}
    source = found.setdefault("source", {})
    for key in FINDING:
        if key in layout.source and key not in source:
            source[key] = layout.source[key]


def _columns(
    columns: Sequence[ColumnProposal],
    layout: LayoutProposal,
    flow: str,
    seeds: dict[str, str] | None,
    known: Collection[str],
    exact: Collection[str],
    kept: Mapping[str, Any],
) -> dict[str, Json]:
    """Return `from` and `sql` of columns.

    Args:
        exact: see `_has_aliases`.
        kept: `from` of columns that a layout reads already, by their names.
        seeds: receives the files of lookups; None writes these into the expressions.
        known: the names of the flow's seeds, whose files are kept.
    """
    aliased = {
        source: one.name
        for one in layout.columns
        if _has_aliases(one, layout.columns, exact)
        for source in _sources(one)
    }
    found = dict[str, Json]()
    for column in columns:
        chosen, name = column.chosen, column.name
        if chosen is None:
            found[name] = {"sql": "NULL"}
            continue
        # Columns that are aliases of others are read by the names of these.
        others = {source: owner for source, owner in aliased.items() if owner != name}
        sql, spelled = chosen.sql, quoted(chosen.sources[0])
        if chosen.lookup is not None:
            # A value without a member stays unchanged, so that the enumeration rejects it.
            seed = f"{flow}_{layout.name}_{name}" if layout.name else f"{flow}_{name}_values"
            sql = looked_up(chosen.lookup, over_value(sql or "value", "value"), seed, seeds, known)
        if name in kept or _has_aliases(column, layout.columns, exact):
            names = kept.get(name, chosen.sources)
            found[name] = {"from": names} | ({} if sql is None else {"sql": renamed(sql, others)})
        elif sql is not None:
            found[name] = {"sql": renamed(over_value(sql, spelled) if reads_value(sql) else sql, others)}
        else:
            found[name] = {} if chosen.sources == [name] else {"sql": spelled}
    return found


def _sources(column: ColumnProposal) -> list[str]:
    return column.chosen.sources if column.chosen is not None else []


def _has_aliases(column: ColumnProposal, columns: Sequence[ColumnProposal], exact: Collection[str]) -> bool:
    """Return whether the source column is read by an alias.

    Not if it has the target's name or there are several sources, nor if another column reads a source with the
    target's name, which would be ambiguous.

    Args:
        exact: the names, folded, of which another layout reads one spelling: a layout for another one is as strict.
    """
    chosen = column.chosen
    if chosen is None or chosen.sources == [column.name]:
        return False
    if chosen.sql is not None and not reads_value(chosen.sql):
        return False
    if len(chosen.sources) == 1 and folded(chosen.sources[0]) in exact:
        return False
    of_others = {folded(source) for one in columns if one is not column for source in _sources(one)}
    return folded(column.name) not in of_others


# -- the file

_WIDTH = 110
_ORDER = ("source", "target", "rejects", "engine", "columns", "rules", "expect", "checks", "seeds", "layouts")


def file_text(
    head: str,
    definition: Json,
    layouts: Sequence[LayoutProposal] = (),
    samples: Sequence[SampleSeen] = (),
    doubts: Sequence[str] = (),
    decisions: Mapping[str, ColumnDecision] = MappingProxyType({}),
) -> str:
    """Return the text of the flow file, with the evidence and a person's decisions as comments."""
    lines = [*_comment(head), *_to_decide(doubts)]
    plain = next((one for one in layouts if not one.name), None)
    if plain is not None:
        lines += _head(plain, samples, decisions)
    lines += toml_text.entries({key: one for key, one in definition.items() if not _is_table(one)})
    tables = [(name, content) for name, content in definition.items() if _is_table(content)]
    # Tables that the order does not name come last.
    for name, content in sorted(tables, key=lambda one: (*_ORDER, one[0]).index(one[0])):
        if name == "layouts":
            for entry, table in content.items():
                new = next((one for one in layouts if one.name == entry), None)
                lines += _layout_text(entry, table, new, samples, decisions, definition["columns"])
        elif name in ("columns", "seeds"):
            lines += [] if content else ["", f"[{name}]"]
            for entry, table in content.items():
                lines.append("")
                if name == "columns" and plain is not None:
                    lines += _about(plain.column(entry), decisions.get(entry, NOTHING))
                elif name == "columns" and layouts:
                    lines += _unchecked(layouts[0].column(entry))
                if table.get("unique") is True:
                    lines += _comment('unique: within one source. "ever" compares with earlier runs, too.')
                lines += toml_text.table(f"{name}.{toml_text.key(entry)}", table)
        elif isinstance(content, list):
            for table in content:
                lines += ["", f"[[{name}]]", *toml_text.entries(table)]
        else:
            lines += ["", *toml_text.table(name, content)]
            if name == "source" and plain is not None:
                lines += _footer(plain, samples)
    return "\n".join(lines) + "\n"


def _head(
    layout: LayoutProposal, samples: Sequence[SampleSeen], decisions: Mapping[str, ColumnDecision]
) -> Iterator[str]:
    """Yield the progress of a layout's review, its doubts, and what it does not read."""
    for one in _reviewed(layout.columns, decisions):
        yield from _comment(one)
    of_samples = (
        f"{one.name}: {doubt}" for one in samples if one.name in layout.samples for doubt in one.doubts
    )
    yield from _to_decide([*of_samples, *layout.doubts])
    if layout.unused:
        yield from _comment(f"Not read: {', '.join(layout.unused)}.")


def _layout_text(
    name: str,
    table: Json,
    layout: LayoutProposal | None,
    samples: Sequence[SampleSeen],
    decisions: Mapping[str, ColumnDecision],
    contract: Json,
) -> Iterator[str]:
    """Yield the tables of a layout; the evidence if it was proposed or reads a sample."""
    place = f"layouts.{toml_text.key(name)}"
    own = in_layout(decisions, name)
    yield ""
    if layout is not None:
        yield from _comment(f"{name}: as in {', '.join(one.rpartition('/')[2] for one in layout.samples)}.")
        yield from _head(layout, samples, own)
    if "match" in table:
        yield from toml_text.table(place, {"match": table["match"]})
    if "source" in table:
        yield from toml_text.table(f"{place}.source", table["source"])
        yield from _footer(layout, samples) if layout is not None else ()
        yield ""
    read = table.get("columns", {})
    if layout is not None or "columns" in table:
        yield f"[{place}.columns]"
    about = (
        {one.name: list(_about(one, own.get(one.name, NOTHING))) for one in layout.columns} if layout else {}
    )
    for column in dict.fromkeys([*about, *read]):
        yield from about.get(column, ())
        (line,) = toml_text.entries({column: read.get(column, contract[column].get("sql", "NULL"))})
        yield line if column in read else "# " + line.replace("\n", "\n# ")


def _footer(layout: LayoutProposal, samples: Sequence[SampleSeen]) -> Iterator[str]:
    """Yield the setting for a footer that a person has not confirmed."""
    found = [one.footer for one in samples if one.name in layout.samples and one.footer]
    if found and "footer" not in layout.source:
        setting = toml_text.value({"starts_with": list(dict.fromkeys(chain(*found)))})
        yield f"# footer = {setting}  # if these lines are no records, remove the first #"


def _to_decide(doubts: Sequence[str]) -> Iterator[str]:
    for doubt in doubts:
        yield from _comment(f"Decide: {doubt}{'' if doubt.endswith('?') else '.'}")


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
        note = ""
    if is_left_open:
        yield from _comment(f"Left open by a person.{note}")
    elif decision.review == APPROVED:
        yield from _comment(f"Approved.{note}")
    if decision.sources:
        yield from _comment("Chosen by a person.")
    if chosen is None and not is_left_open:
        yield from _comment("Unmapped: no column of the sample is likely enough.")
    elif chosen is not None:
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
    yield from _unchecked(column)


def _unchecked(column: ColumnProposal) -> Iterator[str]:
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
