"""Makes one proposal from several samples, with a layout for each form of them.

Pure, except for the samples' testers and `Recognise`.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import reduce
from itertools import chain

from attrs import evolve, frozen

from lume_local._flow.definition import quoted, read_definition
from lume_local._flow.fields import FlowError
from lume_local._flow.patterns import Pattern
from lume_local._flow.source_settings import FINDING, OBJECTS
from lume_local._flow.table_bounds import folded
from lume_local._flow.urls import as_known
from lume_local._mapping.decisions import NOTHING, ColumnDecision, in_layout
from lume_local._mapping.evidence import worse
from lume_local._mapping.expressions import definition_for, definition_to_try
from lume_local._mapping.flow_text import definition_of, file_text, has_names, names_read, with_layouts
from lume_local._mapping.match import MOST_CANDIDATES
from lume_local._mapping.profile import Profile
from lume_local._mapping.proposal import (
    Choice,
    ColumnProposal,
    LayoutProposal,
    LookupLine,
    ProposedFlow,
    SampleSeen,
)
from lume_local._mapping.propose import SampleProposal, Suggestion
from lume_local._mapping.readings import Tester, over_column
from lume_local._mapping.rewrite import calls, names_in, over_value
from lume_local._mapping.target import Json, MappingTarget, TargetColumn, as_read

_OF_SAMPLE = (*FINDING, "null", "footer")
"""Settings that may differ between samples of one layout."""
_COULD = "{} is not read, and {!r} may be it: a layout of their own would read it in such files"
Recognise = Callable[[Json], list[str | None]]
"""Returns the layout of a version that each sample has; None if it has none, or several.

Raises `FlowError` if a layout fits the files of another one.
"""


@frozen
class _Group:
    """Samples that one layout reads; its name is empty if the version has no layouts."""

    name: str
    is_new: bool
    samples: list[SampleProposal]


def propose(
    target: MappingTarget,
    profiles: Sequence[Profile],
    testers: Sequence[Tester],
    suggestions: Sequence[Suggestion],
    *,
    recognise: Recognise,
    lost: Callable[[Json], list[str]],
    decided: Mapping[str, ColumnDecision],
    inline: bool,
    layout: str,
) -> ProposedFlow:
    """Return the proposal for a target from samples; each has a tester that tries expressions on its rows.

    Args:
        lost: returns a doubt about each layout that would no longer read its latest files.
        decided: a person's decisions about target columns.
        inline: whether lookups are written into the flow instead of seed files.
        layout: the name of the new layout, which is added even if another one reads the samples.

    Raises:
        FlowError: a choice names an unknown column, there are too many columns, or no layout can be added.
    """
    _check_choices(decided, target, profiles)
    base = None if target.base is None else with_layouts(target.base)
    held: list[str | None] = [None] * len(profiles) if base is None or layout else recognise(base)
    answered = {one.name for one in (read_definition(base).layouts if base else ()) if one.source.footer}
    profiles = [
        evolve(one, footer=[], doubts=[said for said in one.doubts if not said.endswith("its footer")])
        if name in answered
        else one
        for name, one in zip(held, profiles, strict=True)
    ]
    samples = [
        SampleProposal(
            _fresh(target, profile) if name is None else as_read(target, name),
            profile,
            tester,
            [one for one in suggestions if _is_for(one, profile, profiles)],
        )
        for name, profile, tester in zip(held, profiles, testers, strict=True)
    ]
    groups = _named(_grouped(target, samples, held), target, layout)
    for group in groups:
        for sample in group.samples:
            sample.decide(in_layout(decided, group.name))
    layouts = [_layout(group, target, in_layout(decided, group.name), profiles) for group in groups]
    _check_used(decided, layouts)
    if any(layout.name for layout in layouts):
        layouts = _told_apart(
            layouts, lambda tried: recognise(definition_of(target, tried, decided)[0]), profiles
        )
    definition, seeds = definition_of(target, layouts, decided, inline=inline)
    seen = [_seen(one.profile, layouts) for one in samples]
    doubts = [*target.notes, *dict.fromkeys(doubt for one in samples for doubt in one.doubts)]
    if target.base is not None and "layouts" in definition:
        doubts += [*_of_first(target.base, definition), *lost(definition)]
    names = ", ".join(as_known(one.name).rpartition("/")[2] for one in seen)
    head = f"Proposed for {target.shown} from {names}: review every column, then run `lume flow try`."
    return ProposedFlow(
        f"{target.name}:{target.version}",
        target.shown,
        seen,
        layouts,
        doubts,
        definition,
        file_text(head, definition, layouts, seen, doubts, decided),
        seeds,
    )


def _of_first(base: Json, definition: Json) -> Iterator[str]:
    """Yield doubts about the first layout of a version, if the one before had none."""
    name, layout = next(iter(definition["layouts"].items()))
    if "layouts" not in base and "match" in layout:
        yield f"{name} reads files without names in them: correct its match, a pattern of their paths"
    if "layouts" not in base and "where" in layout.get("source", {}):
        yield f"{name} reads only rows that fulfil its where: check whether other layouts need one, too"


def _check_choices(
    decided: Mapping[str, ColumnDecision], target: MappingTarget, profiles: Sequence[Profile]
) -> None:
    known = {column.name for column in target.columns}
    for name, decision in decided.items():
        if name not in known:
            raise FlowError("choices", f"the target has no column {name!r}")
        for one in (decision, *decision.layouts.values()):
            for source in one.sources or ():
                if not any(profile.column(source) for profile in profiles):
                    raise FlowError("choices", f"no sample has a column {source!r}")


def _check_used(decided: Mapping[str, ColumnDecision], layouts: Sequence[LayoutProposal]) -> None:
    """Refuse a choice that no layout could follow."""
    for name, decision in decided.items():
        if unknown := decision.layouts.keys() - {one.name for one in layouts}:
            raise FlowError("choices", f"{name!r}: no layout of the samples is called {min(unknown)!r}")
        wanted = [decision.layouts.get(layout.name, decision).sources or () for layout in layouts]
        chosen = [layout.column(name).chosen for layout in layouts]
        made = {
            one for one, found in zip(wanted, chosen, strict=True) if found and {*one} <= {*found.sources}
        }
        if vain := next((one for one in wanted if one and one not in made), None):
            shown = " and ".join(map(repr, vain))
            raise FlowError("choices", f"{name!r}: there is no way to make it of {shown}: choose one column")


def _is_for(suggestion: Suggestion, profile: Profile, profiles: Sequence[Profile]) -> bool:
    """Return whether a suggestion is for a sample: its columns are there, or in none."""
    there = [one for one in profiles if all(map(one.column, suggestion.sources))]
    return not there or any(one is profile for one in there)


# -- samples in the same form


def _fresh(target: MappingTarget, profile: Profile) -> MappingTarget:
    """Return the target for a sample that no layout reads: the flow's names and expressions are only evidence."""
    known = {one.name.lower() for one in profile.columns}
    return evolve(
        target, base=None, columns=[evolve(one, sql=_reusable(one, known)) for one in target.columns]
    )


def _reusable(column: TargetColumn, known: set[str]) -> str | None:
    """Return the flow's expression unless it is for other names, or looks up another sender's values."""
    sql = column.sql
    if sql is None or ("enum" in column.definition and calls(sql, "seed")):
        return None
    names = () if over_column(sql) else map(str.lower, names_in(sql))
    return sql if known.issuperset(names) else None


def _grouped(
    target: MappingTarget, samples: Sequence[SampleProposal], held: Sequence[str | None]
) -> list[_Group]:
    """Group samples: by the layout that reads them, else by how they are written."""
    found: dict[tuple[bool, str], list[_Group]] = {}
    for name, sample in zip(held, samples, strict=True):
        is_new = name is None
        alike = found.setdefault((is_new, name or _written(sample.profile)), [])
        group = next((one for one in alike if not is_new or _fits(target, one.samples, sample)), None)
        if group is None:
            alike.append(_Group(name or "", is_new, [sample]))
        else:
            group.samples.append(sample)
    groups = [group for several in found.values() for group in several]
    return sorted(groups, key=lambda one: min(map(samples.index, one.samples)))


def _written(profile: Profile) -> str:
    """Return the same text for samples with equal format, dialect and header."""
    source = {key: one for key, one in profile.source.items() if key not in _OF_SAMPLE}
    is_named = source.get("format") not in OBJECTS  # which may lack members
    return json.dumps([source, sorted(folded(one.name) for one in profile.columns if is_named)])


def _fits(target: MappingTarget, group: Sequence[SampleProposal], sample: SampleProposal) -> bool:
    """Return whether one expression for each column reads the sample and those of the group."""
    samples = [*group, sample]
    return all(
        _ways(column, samples) or not any(column.name in one.chosen for one in samples)
        for column in target.columns
    )


def _ways(column: TargetColumn, samples: Sequence[SampleProposal]) -> list[Choice]:
    """Return the choices of single samples that read this column of all of them."""
    choices = [one.chosen[column.name] for one in samples if column.name in one.chosen]
    return [choice for choice in choices if all(_reads(column, choice, one) for one in samples)]


def _reads(column: TargetColumn, choice: Choice, sample: SampleProposal) -> bool:
    """Return whether a choice also reads the column of a sample, which may not have decided it."""
    own = sample.chosen.get(column.name)
    if own is None or own.sql == choice.sql:
        return own is None or [*map(folded, own.sources)] == [*map(folded, choice.sources)]
    if len(own.sources) > 1 or [*map(folded, own.sources)] != [*map(folded, choice.sources)]:
        return False
    if choice.readings and choice.reading is None:
        return False
    if own.readings and own.reading is None:
        return any(one.key == choice.reading for one in own.readings)
    name = own.sources[0]
    tried = {
        key: (name, definition_to_try(column, None, over_value(sql or "value", quoted(name))))
        for key, sql in (("own", own.sql), ("other", choice.sql))
    }
    results = sample.tester(tried)
    return results["other"].misfits <= results["own"].misfits


def _named(groups: list[_Group], target: MappingTarget, layout: str) -> list[_Group]:
    """Return the groups with the names of their layouts; without a name if the version needs no layouts."""
    base = target.base or {}
    new = [group for group in groups if group.is_new]
    if layout and len(new) > 1:
        raise FlowError("layout", f"is one name, and the samples have {len(new)} layouts: leave it out")
    taken = {*(with_layouts(base)["layouts"] if base else ())}
    if layout in taken:
        raise FlowError("layout", f"{target.shown} has a layout {layout!r} already: choose another name")
    if not layout and "layouts" not in base and len(new) + bool(base) * bool(new) < 2:
        return [evolve(group, name="") for group in groups]
    found = []
    for group in groups:
        name = group.name
        if group.is_new:
            name = layout or _unique(_name_of(as_known(group.samples[0].profile.name)), taken)
            taken.add(name)
        found.append(evolve(group, name=name))
    return found


def _name_of(sample: str) -> str:
    """Return a name for the layout of a file: its own, without suffixes, and without a date or number at the end."""
    stem = sample.rpartition("/")[2].partition(".")[0]
    letters = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "_", letters).strip("_")
    return (re.sub(r"[_\d]+$", "", words) or words or "layout")[:50]


def _unique(name: str, taken: Collection[str]) -> str:
    numbered = (f"{name}_{n}" for n in range(2, len(taken) + 3))
    return next(one for one in (name, *numbered) if one not in taken)


# -- one layout


def _layout(
    group: _Group,
    target: MappingTarget,
    decided: Mapping[str, ColumnDecision],
    every: Sequence[Profile],
) -> LayoutProposal:
    """Return the proposal of a group's layout; `every` has the profiles of all groups."""
    profiles = [one.profile for one in group.samples]
    source = dict(profiles[0].source)
    if words := list(dict.fromkeys(word for one in profiles for word in one.source.get("null", ()))):
        source["null"] = words
    if footer := next((one.source["footer"] for one in profiles if "footer" in one.source), None):
        source["footer"] = footer
    columns, doubts = list[ColumnProposal](), list[str]()
    for column in group.samples[0].target.columns:
        found = _column(column, group.samples)
        is_unread = not group.is_new and column.sql is None and not column.aliases
        if is_unread and found.chosen is not None and not decided.get(column.name, NOTHING).changes:
            doubts.append(_COULD.format(column.name, " + ".join(found.chosen.sources)))
            found = evolve(found, chosen=None)
        columns.append(found)
    read = {name for column in columns if column.chosen for name in column.chosen.sources}
    spelled, aliases = set[str](), set[str]()
    if not group.is_new and target.base is not None:
        flow = read_definition(target.base)
        known = next((one.columns for one in flow.layouts if one.name == group.name), flow.columns)
        spelled, aliases = names_read(known)
    unused = dict.fromkeys(
        one.name
        for profile in profiles
        for one in profile.columns
        if one.name not in read and one.name.lower() not in spelled and folded(one.name) not in aliases
    )
    is_nameless = bool(group.name) and group.is_new and not has_names(source)
    return LayoutProposal(
        group.name,
        group.is_new,
        [one.name for one in profiles],
        source,
        columns,
        [column.name for column in columns if column.chosen is None],
        list(unused),
        [*doubts, *_doubts(group, columns)],
        _patterns(profiles, every) if is_nameless else [],
    )


def _column(column: TargetColumn, samples: Sequence[SampleProposal]) -> ColumnProposal:
    several = [one.chosen[column.name] for one in samples if column.name in one.chosen]
    first = _merged([*(_ways(column, samples) if len(samples) > 1 else ()), *several], several)
    candidates = samples[0].candidates[column.name]
    if first is not None:
        candidates = [first, *(one for one in candidates if one.sources[0] not in first.sources)]
    source = next((one for each in samples if first and (one := each.profile.column(first.sources[0]))), None)
    definition: Json = dict(column.definition)
    if "type" not in definition:
        definition |= {
            key: value for key, value in definition_for(column, source).items() if key not in definition
        }
    return ColumnProposal(column.name, definition, first, candidates[:MOST_CANDIDATES], column.notes)


def _merged(best: Sequence[Choice], several: Sequence[Choice]) -> Choice | None:
    """Return the best choice with the names of the column in all samples, the lowest grade, and all lookups."""
    if not best:
        return None
    first = best[0]
    same = [one for one in several if one.sql == first.sql]
    entries = dict[str, LookupLine]()
    for entry in chain(*(one.lookup or () for one in several)):
        entries.setdefault(entry.source, entry)
    return evolve(
        first,
        sources=list(dict.fromkeys(name for one in (first, *several) for name in one.sources)),
        grade=reduce(worse, (one.grade for one in same)),
        likely=min(one.likely for one in several),
        passes=min((one.passes for one in same if one.passes is not None), default=None),
        doubts=list(dict.fromkeys(doubt for one in same for doubt in one.doubts)),
        lookup=list(entries.values()) or None,
    )


def _doubts(group: _Group, columns: Sequence[ColumnProposal]) -> Iterator[str]:
    """Yield doubts about several columns at once, and required ones that nothing is read for."""
    readers: dict[str, list[str]] = {}
    for column, known in zip(columns, group.samples[0].target.columns, strict=True):
        is_constant = known.sql is not None and not over_column(known.sql) and not names_in(known.sql)
        if column.chosen is None and column.definition.get("required") and not is_constant:
            yield f"{column.name} is required, and nothing is read for it"  # all rows would be rejected
        for source in column.chosen.sources if column.chosen else ():
            readers.setdefault(source, []).append(column.name)
    for source, names in readers.items():
        if len(names) > 1:
            yield f"{source!r} is read by {' and '.join(names)}: is that meant?"


def _told_apart(
    layouts: Sequence[LayoutProposal],
    recognise: Callable[[Sequence[LayoutProposal]], list[str | None]],
    profiles: Sequence[Profile],
) -> list[LayoutProposal]:
    """Return the layouts, with lines or patterns for new ones if the names in their samples don't identify them.

    Raises:
        FlowError: the new version has another mistake.
    """
    first = {layout.name: layout for layout in layouts}
    found = dict(first)
    for _ in range(2 * len(layouts)):
        try:
            read = recognise([*found.values()])
        except FlowError as error:  # the place of a tie is the later layout, which is the new one
            wrong = {error.place.removeprefix("layouts.")}
            if not any(one.name in wrong and one.is_new and not one.match for one in found.values()):
                raise
        else:
            owners = [
                next(one for one in found.values() if profile.name in one.samples) for profile in profiles
            ]
            pairs = [(owner, name) for owner, name in zip(owners, read, strict=True) if name != owner.name]
            # A new layout must not take what another one reads already.
            wrong = {owner.name if owner.is_new else name or "" for owner, name in pairs}
        unclear = [one for one in found.values() if one.name in wrong and one.is_new and not one.match]
        for one in unclear:
            mine = [profile for profile in profiles if profile.name in one.samples]
            by_path = evolve(first[one.name], match=_patterns(mine, profiles))
            found[one.name] = _by_line(one, mine) or by_path
        if not unclear:
            break
    return [_with_doubt(one) for one in found.values()]


def _by_line(layout: LayoutProposal, samples: Sequence[Profile]) -> LayoutProposal | None:
    """Return the layout with the line of its header, if it is the same in all samples and they have no comments.

    So another layout with these names in the first line has other files.
    """
    header, above = layout.source.get("header"), {one.skipped.get("preamble", 0) for one in samples}
    if (
        not isinstance(header, dict)
        or "contains" not in header
        or "comment" in layout.source
        or len(above) > 1
    ):
        return None
    row = {"row": above.pop() + 1, **{key: one for key, one in header.items() if key != "contains"}}
    return evolve(layout, source=layout.source | {"header": row})


def _with_doubt(layout: LayoutProposal) -> LayoutProposal:
    if not layout.match:
        return layout
    doubt = (
        f"names do not identify its files, so it reads those whose path matches {' or '.join(layout.match)}"
    )
    is_below = "contains" in (layout.source.get("header") or ())
    other = ', or write header = "find" in the layout that reads these names' if is_below else ""
    return evolve(layout, doubts=[*layout.doubts, f"{doubt}: check that{other}"])


def _patterns(profiles: Sequence[Profile], every: Sequence[Profile]) -> list[str]:
    """Return patterns for files like these samples, and not like others.

    They are all files of a sample's folder, or those with other digits in their names.
    """
    others = [one.path for one in every if all(one is not mine for mine in profiles)]
    return list(dict.fromkeys(_pattern(one.path, others) for one in profiles))


def _pattern(path: str, others: Sequence[str]) -> str:
    folder = path.rpartition("/")[0]
    above = f"**/{folder.rpartition('/')[2]}/*"
    # The folder of an upload is its own.
    if folder and "://" not in folder and not any(map(Pattern(above).matches, others)):
        return above
    known = as_known(path)
    name = re.sub(r"[0-9]+", "*", known.rpartition("/")[2])
    return f"**/{name}" if known == path else f"**/*{name}"


def _seen(profile: Profile, layouts: Sequence[LayoutProposal]) -> SampleSeen:
    layout = next(one.name for one in layouts if profile.name in one.samples)
    names = [one.name for one in profile.columns]
    return SampleSeen(
        profile.name,
        profile.rows,
        profile.source,
        names,
        profile.doubts,
        layout,
        profile.footer,
        profile.parts.sheets,
        profile.parts.members,
        profile.skipped,
    )
