"""Matches a sample's columns to a target's by names, types, values and neighbours; says why. Pure.

Each source column is assigned to at most one target column, so that the total is best.

The reasons contain no value of the sample, so they may be kept and shown where the sample may not.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import inf

from attrs import field, frozen

from lume_async._base.words import counted
from lume_local._flow.fields import FlowError
from lume_local._flow.table_bounds import folded
from lume_local._mapping import lookups
from lume_local._mapping.evidence import FEATURES, Grade, Pairing, Side, grade, likely, pairings
from lume_local._mapping.names import SYNONYM, Names
from lume_local._mapping.profile import Profile, SourceColumn, facts_of
from lume_local._mapping.target import MappingTarget, TargetColumn

MOST_CANDIDATES = 3
MOST_PAIRS = 250_000
"""Maximum pairs of columns to compare: 500 by 500 take ten seconds and 200 MB."""
_FEW = 50
"""Maximum distinct values of a column to compare with the members of an enumeration."""
_COUNTERPARTS = 0.5
"""Share of rows with a counterpart among an enumeration's members above which a match is likelier."""
_LEAST = 0.1
"""Minimum likelihood of a candidate to be shown."""
_KINDS = {
    "date-time": "times",
    "date": "dates",
    "time": "times",
    "integer": "whole numbers",
    "string": "texts",
}
_CLOSE = 0.3
"""Minimum likelihood of a rival to be named."""


@frozen
class Match:
    """A source column that may be a target column.

    Attributes:
        rival: the likelihood of the best other pair of one of the two columns; `near` is its source column.
        is_alias: whether a source has used this name before.
    """

    source: SourceColumn
    pair: Pairing = field(repr=False)
    likely: float
    rival: float
    near: str
    is_alias: bool
    grade: Grade
    is_chosen: bool


class Matches:
    """All pairs of the columns of a target and a sample.

    Raises:
        FlowError: there are too many pairs.
    """

    def __init__(self, target: MappingTarget, profile: Profile) -> None:
        self._target, self._profile = target, profile
        if len(target.columns) * len(profile.columns) > MOST_PAIRS:
            raise FlowError(
                "samples",
                f"{counted(len(profile.columns), 'column')} of {profile.name} and {len(target.columns):,} of the "
                f"target are more than {MOST_PAIRS:,} pairs: leave some out",
            )
        names = _spoken(target, [column.name for column in profile.columns])
        facts = [facts_of(column.examples) for column in target.columns]
        wanted = Side(
            target.table,
            names,
            [c.kind or f.kind for c, f in zip(target.columns, facts, strict=True)],
            facts,
            [column.about for column in target.columns],
        )
        given = Side(
            profile.name.rpartition("/")[2].partition(".")[0],  # the name of a file says what it contains
            [column.name for column in profile.columns],
            [column.kind for column in profile.columns],
            [column.facts for column in profile.columns],
        )
        found = {}
        for t, column in enumerate(target.columns):
            members = column.definition.get("enum") or []
            if not members or not all(isinstance(one, str) for one in members):
                continue
            for s, source in enumerate(profile.columns):
                if 0 < len(source.counts) <= _FEW:
                    share = lookups.share(lookups.entries(source.counts, members))
                    if share > _COUNTERPARTS:
                        found[t, s] = share
        self._pairs = pairings(wanted, given, found)
        self._known = [frozenset(map(folded, column.aliases)) for column in target.columns]
        self.likely = likely(self._pairs)
        every = frozenset().union(*self._known)
        for t, known in enumerate(self._known):
            for s, source in enumerate(profile.columns):
                if folded(source.name) in known:
                    self.likely[t][s] = 1.0
                elif not known and folded(source.name) in every:
                    self.likely[t][s] = 0.0  # the flow reads this name for another column only

    def lower(self, passes: Mapping[tuple[str, str], float]) -> None:
        """Lower likelihoods by the share of values that pass, given by the names of target and source column."""
        for t, column in enumerate(self._target.columns):
            for s, other in enumerate(self._profile.columns):
                share = passes.get((column.name, other.name))
                # An enumeration's values are mapped by its lookup, so an equal name is enough.
                own = {folded(column.name)} if "enum" in column.definition else set()
                is_known = folded(other.name) in self._known[t] | own
                if share is not None and share < 0.5 and not is_known:
                    self.likely[t][s] *= share

    def best(self) -> list[list[Match]]:
        """Return the candidates for each target column: the assigned one first, then by likelihood."""
        found = []
        for t, (row, assigned) in enumerate(zip(self.likely, assign(self.likely), strict=True)):
            order = sorted(range(len(row)), key=lambda s: (s != assigned, -row[s]))[:MOST_CANDIDATES]
            shown = [s for s in order if row[s] >= _LEAST or s == assigned]
            found.append([self._match(t, s, s == assigned) for s in shown])
        return found

    def pair(self, target: str, source: str) -> Match:
        names = [column.name for column in self._target.columns]
        others = [column.name for column in self._profile.columns]
        return self._match(names.index(target), others.index(source), True)

    def _match(self, t: int, s: int, is_chosen: bool) -> Match:
        # The likeliest rival is another source of the target column, or another target of the source column.
        row = [(one, self._profile.columns[n].name) for n, one in enumerate(self.likely[t]) if n != s]
        column = [(other[s], self._target.columns[n].name) for n, other in enumerate(self.likely) if n != t]
        other, near = max([*row, *column], default=(0.0, ""))
        is_alias = folded(self._profile.columns[s].name) in self._known[t]
        found = Grade.CERTAIN if is_alias else grade(self._pairs[t][s], self.likely[t][s], other)
        return Match(
            self._profile.columns[s],
            self._pairs[t][s],
            round(self.likely[t][s], 4),
            other,
            near,
            is_alias,
            found,
            is_chosen,
        )


def _spoken(target: MappingTarget, sources: Sequence[str]) -> list[str]:
    """Return for each target column its name, or the alias most similar to a name in the sample."""
    several = [[column.name, *column.aliases] for column in target.columns]
    if not any(column.aliases for column in target.columns):
        return [names[0] for names in several]
    flat = list(dict.fromkeys(name for names in several for name in names))
    names = Names(flat, sources, [target.table])
    best = {
        one.text: max((names.match(one, other).both for other in names.sources), default=0.0)
        for one in names.targets
    }
    return [max(known, key=lambda name: best[name]) for known in several]


def reasons(target: TargetColumn, match: Match) -> list[str]:
    """Return the evidence for and against a source column being the target column."""
    return [*_of_names(match), *_of_the_rest(target, match)]


def _of_names(match: Match) -> Iterator[str]:
    """Yield what the names say about a match."""
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
    elif name.worst >= SYNONYM and name.left <= 0.3:
        yield f"every word of the names matches: {shown}"
    else:
        yield f"words of the names match: {shown}"
        if name.target_left > 0.3:
            yield "the target's name says more"
        if name.source_left > 0.3:
            yield "the source's name says more"
    if name.digits:
        yield "their numbers differ"
    if name.opposed:
        yield "the names exclude each other"
    elif name.doubtful:
        yield f"{' and '.join(map(repr, name.doubtful))} may make it another column"


def _of_the_rest(target: TargetColumn, match: Match) -> Iterator[str]:
    """Yield what types, values, neighbours and rivals say about a match."""
    found = dict(zip(FEATURES, match.pair.numbers, strict=True))
    kind = match.source.kind or "string"
    if found["type_fits"]:
        yield f"both are {_KINDS.get(kind, f'{kind}s')}"
    if found["type_clash"]:
        yield f"the values look like {_KINDS.get(kind, f'{kind}s')}, unlike the target's type"
    if match.pair.described > 0.5:
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
    if found["around"] > 0.5:
        yield "the columns beside it match as well"
    if match.rival > _CLOSE and match.near:
        yield f"{match.near!r} is close ({match.rival:.2f})"


_LEAST_ASSIGNED = 0.05
"""Pairs below this likelihood are never chosen."""


def assign(likely: Sequence[Sequence[float]]) -> list[int | None]:
    """Return the column for each row, so that the sum over all rows is maximal.

    Each row takes the shortest path to a free column along which the rows before it change theirs (Jonker and
    Volgenant). None is a column, too, one of its own for each row: -1 for the first.
    """
    costs = [
        {column: 1 - one for column, one in enumerate(row) if one >= _LEAST_ASSIGNED} | {-1 - n: 1.0}
        for n, row in enumerate(likely)
    ]
    owner, prices = dict[int, int](), defaultdict[int, float](float)
    for n in range(len(costs)):
        lengths, before, done = dict[int, float](), dict[int, int | None](), dict[int, float]()
        row, length, column = n, 0.0, None
        while column is None or column in owner:
            row = n if column is None else owner[column]
            own = 0.0 if column is None else costs[row][column] - prices[column]
            for other, cost in costs[row].items():
                there = length + cost - prices[other] - own
                if other not in done and there < lengths.get(other, inf):
                    lengths[other], before[other] = there, column
            column = min(lengths, key=lambda one: (lengths[one], one in owner))
            length = done[column] = lengths.pop(column)
        for other, there in done.items():
            prices[other] += there - length
        while column is not None:
            previous = before[column]
            owner[column] = n if previous is None else owner[previous]
            column = previous
    chosen = {row: column for column, row in owner.items() if column >= 0}
    return [chosen.get(row) for row in range(len(costs))]
