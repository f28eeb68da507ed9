"""Matches the columns of a sample to those of a target by names, types, values and neighbours. Pure."""

from collections.abc import Mapping, Sequence

from attrs import evolve, field, frozen

from lume_async._base.words import counted
from lume_local._flow.aliases import folded
from lume_local._flow.fields import FlowError
from lume_local._mapping import lookups
from lume_local._mapping.assignment import assign
from lume_local._mapping.evidence import Pairing, Side, pairings
from lume_local._mapping.facts import facts_of
from lume_local._mapping.grades import Grade, at_most, grade, rival
from lume_local._mapping.model import likely
from lume_local._mapping.names import Names
from lume_local._mapping.profile import Profile, SourceColumn
from lume_local._mapping.target import MappingTarget

MOST_CANDIDATES = 3
MOST_PAIRS = 250_000
"""Maximum pairs of columns to compare: 500 by 500 take ten seconds and 200 MB."""
_FEW = 50
"""Maximum distinct values of a column to compare with the members of an enumeration."""
_COUNTERPARTS = 0.5
"""Share of rows with a counterpart among an enumeration's members above which a match is likelier."""
_LEAST = 0.1
"""Minimum likelihood of a candidate to be shown."""


@frozen
class Match:
    """A source column that may be a target column.

    Attributes:
        likely: the likelihood, 0 to 1.
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
        self._pairs = pairings(wanted, given, _members(target, profile))
        self._known = [frozenset(map(folded, column.aliases)) for column in target.columns]
        self.likely = likely(self._pairs)
        every = frozenset().union(*self._known)
        for t, known in enumerate(self._known):
            for s, column in enumerate(profile.columns):
                if folded(column.name) in known:
                    self.likely[t][s] = 1.0
                elif not known and folded(column.name) in every:
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
        chosen = assign(self.likely)
        return [self._of(t, chosen[t]) for t in range(len(self._target.columns))]

    def pair(self, target: str, source: str) -> Match:
        """Return one pair, by the names of its columns."""
        names = [column.name for column in self._target.columns]
        others = [column.name for column in self._profile.columns]
        return self._match(names.index(target), others.index(source), True)

    def _of(self, t: int, chosen: int | None) -> list[Match]:
        row = self.likely[t]
        order = sorted(range(len(row)), key=lambda s: (s != chosen, -row[s]))[:MOST_CANDIDATES]
        return [self._match(t, s, s == chosen) for s in order if row[s] >= _LEAST or s == chosen]

    def _match(self, t: int, s: int, is_chosen: bool) -> Match:
        other, near = self._nearest(t, s)
        is_alias = folded(self._profile.columns[s].name) in self._known[t]
        found = grade(self._pairs[t][s], self.likely[t][s], rival(self.likely, t, s))
        if is_alias:
            found = Grade.CERTAIN
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

    def _nearest(self, t: int, s: int) -> tuple[float, str]:
        """Return the likeliest rival: another source of the target column, or another target of the source column."""
        row = [(one, self._profile.columns[n].name) for n, one in enumerate(self.likely[t]) if n != s]
        column = [(other[s], self._target.columns[n].name) for n, other in enumerate(self.likely) if n != t]
        return max([*row, *column], default=(0.0, ""))


def checked(match: Match, passes: float) -> Match:
    """Return the match with its grade limited by the share of values that pass the target's checks."""
    return evolve(match, grade=at_most(match.grade, passes))


def _members(target: MappingTarget, profile: Profile) -> dict[tuple[int, int], float]:
    """Return, for enumerations, the share of a source column's rows with a counterpart among the members."""
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
    return found


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
