"""A proposal as a flow version: its definition, and the file for a person to review. Pure.

The comments about a person's decisions contain no value of the sample, so the file may go where the sample may not.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from lume_local._flow.definition import quoted
from lume_local._flow.table_bounds import folded
from lume_local._mapping.decisions import APPROVED, FLAGGED, NOTHING, ColumnDecision
from lume_local._mapping.lookups import looked_up, seed_tables
from lume_local._mapping.proposal import ColumnProposal, SampleSeen
from lume_local._mapping.target import Json, MappingTarget
from lume_local._mapping.text import toml_text
from lume_local._mapping.text.following import following
from lume_local._mapping.text.rewrite import over_value, reads_value, renamed

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
    for one in _marks(column, decision):
        yield from _comment(one)
    if chosen is None and _is_left_open(column, decision):
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


def _marks(column: ColumnProposal, decision: ColumnDecision) -> Iterator[str]:
    """Yield the decisions about one column."""
    end = "" if decision.note.endswith((".", "?", "!")) else "."
    note = f" {decision.note}{end}" if decision.note else ""
    if decision.review == FLAGGED:
        yield f"FLAGGED.{note}"
    if _is_left_open(column, decision):
        yield "Left open by a person." + (note if decision.review != FLAGGED else "")
    elif decision.review == APPROVED:
        yield f"Approved.{note}"
    if decision.sources:
        yield "Chosen by a person."


def _reviewed(columns: Sequence[ColumnProposal], decisions: Mapping[str, ColumnDecision]) -> Iterator[str]:
    """Yield the progress of the review; nothing if there was none."""
    if not any(one.review for one in decisions.values()):
        return
    found: dict[str, list[str]] = {}
    for column in columns:
        decision = decisions.get(column.name, NOTHING)
        found.setdefault(_state(column, decision), []).append(column.name)
    for state in ("approved", "flagged", "left open", "not reviewed"):
        if names := found.get(state):
            yield f"{state.capitalize()}: {', '.join(names)}."


def _state(column: ColumnProposal, decision: ColumnDecision) -> str:
    if decision.review == FLAGGED:
        return "flagged"
    if _is_left_open(column, decision):
        return "left open"
    return "approved" if decision.review == APPROVED else "not reviewed"
