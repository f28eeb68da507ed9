"""Merges the evidence of several samples into one proposal. Pure, except for the samples' testers."""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

from attrs import evolve

from lume_async._base.words import listed
from lume_local._flow.definition import quoted
from lume_local._flow.fields import FlowError
from lume_local._flow.table_bounds import folded
from lume_local._mapping.decisions import ColumnDecision
from lume_local._mapping.evidence import worse
from lume_local._mapping.expressions import definition_for
from lume_local._mapping.flow_text import (
    aliases_of,
    definition_of,
    file_text,
    is_read_otherwise,
    names_read,
    source_differs,
)
from lume_local._mapping.profile import Profile
from lume_local._mapping.proposal import Choice, ColumnProposal, ProposedFlow, SampleSeen
from lume_local._mapping.propose import SampleProposal, Suggestion
from lume_local._mapping.readings import Tester
from lume_local._mapping.rewrite import is_null, names_in, words_in
from lume_local._mapping.target import Json, MappingTarget, TargetColumn


def propose(
    target: MappingTarget,
    profiles: Sequence[Profile],
    testers: Sequence[Tester],
    suggestions: Sequence[Suggestion] = (),
    *,
    choices: Mapping[str, ColumnDecision] | None = None,
    inline: bool = False,
) -> ProposedFlow:
    """Return the proposal for a target from samples; each has a tester that tries expressions on its rows.

    Args:
        choices: a person's decisions about target columns.
        inline: whether lookups are written into the flow instead of seed files.

    Raises:
        FlowError: a choice names an unknown column, or there are too many columns.
    """
    decided = choices or {}
    known = {column.name for column in target.columns}
    for name, decision in decided.items():
        if name not in known:
            raise FlowError("choices", f"the target has no column {name!r}")
        for source in decision.sources or ():
            if not any(profile.column(source) for profile in profiles):
                raise FlowError("choices", f"no sample has a column {source!r}")
    several = [
        SampleProposal(target, profile, tester, suggestions, decided)
        for profile, tester in zip(profiles, testers, strict=True)
    ]
    columns = [_column(column, several, profiles) for column in target.columns]
    for column in columns:
        sources = decided[column.name].sources if column.name in decided else None
        if sources and not (column.chosen and set(sources) <= set(column.chosen.sources)):
            shown = " and ".join(map(repr, sources))
            raise FlowError(
                "choices", f"{column.name!r}: there is no way to make it of {shown}: choose one column"
            )
    samples = [
        SampleSeen(one.name, one.rows, one.source, [c.name for c in one.columns], one.doubts)
        for one in profiles
    ]
    suggested = [doubt for one in several for doubt in one.doubts]
    definition, seeds = definition_of(target, columns, samples[0], decided, inline=inline)
    doubts = [*target.notes, *_doubts(target, definition, columns, samples, profiles), *suggested]
    read = {source for column in columns if column.chosen for source in column.chosen.sources}
    spelled, aliases = names_read(definition) if target.base is not None else (set[str](), set[str]())
    unused = dict.fromkeys(
        c.name
        for one in profiles
        for c in one.columns
        if c.name not in read and c.name.lower() not in spelled and folded(c.name) not in aliases
    )
    return ProposedFlow(
        f"{target.name}:{target.version}",
        target.shown,
        samples,
        columns,
        [column.name for column in columns if column.chosen is None],
        list(unused),
        doubts,
        definition,
        file_text(target, definition, columns, samples, doubts, list(unused), decided),
        seeds,
    )


def _column(
    column: TargetColumn, several: Sequence[SampleProposal], profiles: Sequence[Profile]
) -> ColumnProposal:
    chosen = [one.chosen[column.name] for one in several if column.name in one.chosen]
    first = reduce(_merged, chosen) if chosen else None
    candidates = several[0].candidates[column.name] if several else []
    if first is not None:
        candidates = [first, *(one for one in candidates if one.sources[0] not in first.sources)]
    source = next(
        (found for one in profiles if first and (found := one.column(first.sources[0])) is not None), None
    )
    definition: Json = dict(column.definition)
    if "type" not in definition:
        definition |= {
            key: value for key, value in definition_for(column, source).items() if key not in definition
        }
    return ColumnProposal(column.name, definition, first, candidates[:3], column.notes)


def _merged(one: Choice, other: Choice) -> Choice:
    """Merge the candidates of two samples: the sources of both, with the lower grade."""
    doubts = list(dict.fromkeys([*one.doubts, *other.doubts]))
    if one.sql != other.sql:
        doubts.append(
            f"{other.sources[0]!r} of another sample would be read by {other.sql or 'nothing but its name'}"
        )
    entries = one.lookup
    if one.lookup is not None and other.lookup is not None:
        known = {entry.source for entry in one.lookup}
        entries = [*one.lookup, *(entry for entry in other.lookup if entry.source not in known)]
    shares = [share for share in (one.passes, other.passes) if share is not None]
    return evolve(
        one,
        sources=list(dict.fromkeys([*one.sources, *other.sources])),
        grade=worse(one.grade, other.grade),
        likely=min(one.likely, other.likely),
        passes=min(shares, default=None),
        doubts=doubts,
        lookup=entries or other.lookup,
    )


def _doubts(
    target: MappingTarget,
    definition: Json,
    columns: Sequence[ColumnProposal],
    samples: Sequence[SampleSeen],
    profiles: Sequence[Profile],
) -> Iterator[str]:
    """Yield doubts for a person about the samples and their layouts, and about several columns at once."""
    for sample in samples:
        for doubt in sample.doubts:
            yield f"{sample.name}: {doubt}"
    for other in samples[1:]:
        if other.source != samples[0].source:
            yield f"{other.name} has a different layout than {samples[0].name}: one version reads only one of them"
    differs = target.base is not None and source_differs(target, samples[0])
    if differs:
        yield (
            f"{samples[0].name} has a different layout than {target.shown} reads: the new version is for files like "
            "this one, and no longer reads those of the old version"
        )
    yield from _refused(definition, samples)
    if target.base is not None and not differs:
        before = target.base["columns"]
        for name, entry in definition["columns"].items():
            if not is_read_otherwise(before[name], entry):
                continue
            if is_null(before[name].get("sql", "")):
                yield f"{name} has a source from now on: files of the layouts so far without it are no longer read"
            else:
                how = "has no source" if is_null(entry.get("sql", "")) else "is read by another expression"
                yield f"{name} {how} from now on, in files of the layouts so far, too: check that this is meant"
    known = {one.name.lower() for profile in profiles for one in profile.columns}
    readers: dict[str, list[str]] = {}
    for column in columns:
        entry = definition["columns"][column.name]
        sql = entry.get("sql", quoted(column.name))
        is_unread = is_null(sql) or not known.issuperset(map(str.lower, (*names_in(sql), *words_in(sql))))
        if column.chosen is None and entry.get("required") and is_unread:
            # All rows of a readable file would be rejected.
            yield f"{column.name} is required, and nothing is read for it"
        for source in column.chosen.sources if column.chosen else ():
            readers.setdefault(source, []).append(column.name)
    for source, names in readers.items():
        if len(names) > 1:
            yield f"{source!r} is read by {' and '.join(names)}: is that meant?"


def _refused(definition: Json, samples: Sequence[SampleSeen]) -> Iterator[str]:
    """Yield the samples on which the new version fails, because they lack columns; in objects these are NULL."""
    columns = definition["columns"]
    others = {name: given for name, entry in columns.items() if (given := aliases_of(entry)) is not None}
    for sample in samples:
        if sample.source != samples[0].source or sample.source.get("format") in ("ndjson", "json", "xml"):
            continue
        spelled, folds = {one.lower() for one in (*sample.columns, *others)}, set(map(folded, sample.columns))
        lacking = [
            name
            for name, entry in columns.items()
            if (
                folds.isdisjoint(map(folded, (name, *others[name])))
                if name in others
                else not spelled.issuperset(map(str.lower, names_in(entry.get("sql", quoted(name)))))
            )
        ]
        if lacking:
            yield (
                f"{sample.name} has no column for {listed(lacking, 10)}, so the new version fails on it: "
                'name one that has it, or write a version for such files, with sql = "NULL" there'
            )
