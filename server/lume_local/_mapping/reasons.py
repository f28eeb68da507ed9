"""The evidence for a match in words. Pure.

They contain no value of the sample, so they may be kept and shown where the sample may not.
"""

from collections.abc import Iterator

from lume_local._mapping.evidence import FEATURES
from lume_local._mapping.match import Match
from lume_local._mapping.names import SYNONYM
from lume_local._mapping.target import TargetColumn

_KINDS = {
    "date-time": "times",
    "date": "dates",
    "time": "times",
    "integer": "whole numbers",
    "string": "texts",
}
_CLOSE = 0.3


def reasons(target: TargetColumn, match: Match) -> list[str]:
    """Return the evidence for and against a source column being the target column."""
    return [*_of_names(match), *_of_values(target, match), *_of_others(match)]


def _of_names(match: Match) -> Iterator[str]:
    name = match.pair.name
    if match.is_alias:
        yield "the flow reads it under this name already"
        return
    if name.same:
        yield "the names are the same"
        return
    shown = ", ".join(one if one == other else f"{one} = {other}" for one, other in name.pairs[:4])
    if not name.pairs:
        yield "the names have no word in common" + (", but look alike" if name.ratio > 0.6 else "")
    elif name.worst >= SYNONYM and name.target_left <= 0.3 and name.source_left <= 0.3:
        yield f"every word of the names matches: {shown}"
    else:
        yield f"words of the names match: {shown}"
        if name.target_left > 0.3:
            yield "the target's name says more"
        if name.source_left > 0.3:
            yield "the source's name says more"
    if name.digits:
        yield "their numbers differ"


def _of_values(target: TargetColumn, match: Match) -> Iterator[str]:
    found = dict(zip(FEATURES, match.pair.numbers, strict=True))
    kind = match.source.kind or "string"
    if found["type_fits"]:
        yield f"both are {_KINDS.get(kind, f'{kind}s')}"
    if found["type_clash"]:
        yield f"the values look like {_KINDS.get(kind, f'{kind}s')}, unlike the target's type"
    if found["about"] > 0.5:
        yield "the target's description has its name"
    values = match.pair.values
    if values.known and values.overlap > 0.2:
        yield f"{values.overlap:.0%} of the distinct values also occur in the target"
    elif values.known and values.spread > 0.5:
        yield "its numbers are distributed like the target's"
    elif values.known and values.clash:
        yield "its values are of another kind than the target's"
    facts = match.source.facts
    if target.definition.get("unique") and facts.filled:
        distinct = "its values are distinct" if facts.distinct == 1 else "its values occur more than once"
        yield f"{distinct}, and the target is unique"


def _of_others(match: Match) -> Iterator[str]:
    found = dict(zip(FEATURES, match.pair.numbers, strict=True))
    if found["around"] > 0.5:
        yield "the columns beside it match as well"
    if match.rival > _CLOSE and match.near:
        yield f"{match.near!r} is close ({match.rival:.2f})"
