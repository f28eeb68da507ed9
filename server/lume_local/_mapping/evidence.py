"""The evidence that a source column is a target column: numbers, the likelihood by them, and the grade. Pure.

Each pair of columns gets the same list of numbers, `FEATURES`. The likelihood is a logistic regression, whose weights
in `weights.json` were fitted by `server/benchmarks/mapping/fit.py`. The thresholds of the grades were set on one half
of the sources there, and a report is about the other half.
"""

import enum
import json
from collections.abc import Mapping, Sequence
from functools import cache
from heapq import nlargest
from importlib.resources import files
from math import exp
from operator import mul

from attrs import frozen

from lume_local._mapping.names import SYNONYM, Name, NameMatch, Names, words
from lume_local._mapping.profile import Facts, ValueMatch, compare

FEATURES = (
    *("same", "source_left", "digits"),
    *("type_fits", "type_clash"),
    *("known", "spread", "shape", "clash"),
    *("gap_target", "gap_source", "around", "place"),
)
"""By line: names; types; values of target and source; other columns."""
_SAYS_SOMETHING = 0.12
"""A pair whose names and values agree less than this is never likely, wherever it stands."""


@frozen
class Side:
    """The columns of one side, in order.

    Attributes:
        kinds: the type of each, None if unknown.
        about: the description of each, which may be empty.
    """

    table: str
    names: Sequence[str]
    kinds: Sequence[str | None]
    facts: Sequence[Facts]
    about: Sequence[str] = ()


@frozen
class Pairing:
    """The evidence about a target column and a source column.

    Attributes:
        base: the unweighted agreement of names and values.
        described: the share of the source's name that is in the target's description.
        numbers: one number for each of `FEATURES`.
    """

    name: NameMatch
    values: ValueMatch
    base: float
    described: float
    numbers: tuple[float, ...]


_FITS = {
    ("integer", "number"),
    ("number", "integer"),
    ("date", "date-time"),
    ("date-time", "date"),
    ("string", "date"),
    ("string", "date-time"),
    ("string", "integer"),
    ("string", "number"),
    ("string", "boolean"),
    ("boolean", "integer"),
}
"""Pairs of different target and source types that may still be the same column."""


def pairings(
    target: Side, source: Side, members: Mapping[tuple[int, int], float] | None = None
) -> list[list[Pairing]]:
    """Pair every target column with every source column.

    Args:
        members: by indexes of a pair, the share of values that have a counterpart among the target's members.
    """
    names = Names(target.names, source.names, [target.table, source.table])
    matches = [[names.match(one, other) for other in names.sources] for one in names.targets]
    values = [[compare(one, other) for other in source.facts] for one in target.facts]
    for (t, s), share in (members or {}).items():
        values[t][s] = ValueMatch(share, share, 1.0, True, False)
    excluded = _excluded(matches, values, target.kinds, source.kinds)
    base = [
        [0.0 if excluded[t][s] else _base(match, values[t][s]) for s, match in enumerate(row)]
        for t, row in enumerate(matches)
    ]
    about = [frozenset(word.text for word in words(text)) for text in target.about]
    about = about or [frozenset()] * len(target.names)
    many, others = max(len(target.names) - 1, 1), max(len(source.names) - 1, 1)
    places = [
        [1 - abs(t / many - s / others) for s in range(len(source.names))] for t in range(len(target.names))
    ]
    best_t, best_s = (
        [nlargest(2, (*row, 0.0, 0.0)) for row in base],
        [nlargest(2, (*column, 0.0, 0.0)) for column in zip(*base, strict=True)],
    )
    return [
        [
            Pairing(
                matches[t][s],
                values[t][s],
                base[t][s],
                _described(names.sources[s], about[t]),
                (
                    *(
                        float(matches[t][s].same),
                        min(matches[t][s].source_left, 2.0),
                        float(matches[t][s].digits),
                    ),
                    *_of_types(target.kinds[t], source.kinds[s]),
                    *(float(values[t][s].known), values[t][s].spread),
                    *(values[t][s].shape, float(values[t][s].clash)),
                    base[t][s] - _rival(best_t[t], base[t][s]),
                    base[t][s] - _rival(best_s[s], base[t][s]),
                    _around(base, t, s),
                    places[t][s],
                ),
            )
            for s in range(len(source.names))
        ]
        for t in range(len(target.names))
    ]


def _excluded(
    matches: Sequence[Sequence[NameMatch]],
    values: Sequence[Sequence[ValueMatch]],
    kinds: Sequence[str | None],
    others: Sequence[str | None],
) -> list[list[bool]]:
    """Return which pairs can't be: names that oppose each other, or a column whose own name is on the other side."""
    own = [
        [
            match.same and not values[t][s].clash and not _of_types(kinds[t], others[s])[1]
            for s, match in enumerate(row)
        ]
        for t, row in enumerate(matches)
    ]
    has_own, is_own = list(map(any, own)), list(map(any, zip(*own, strict=True)))
    return [
        [match.opposed or ((has_own[t] or is_own[s]) and not own[t][s]) for s, match in enumerate(row)]
        for t, row in enumerate(matches)
    ]


def _base(name: NameMatch, values: ValueMatch) -> float:
    of_name = max(name.both, 0.5 * name.ratio if name.ratio > 0.6 else 0.0)
    if not values.known:
        return of_name
    of_values = max(values.overlap, values.spread) * (0.0 if values.clash else 1.0)
    return 0.6 * of_name + 0.4 * of_values


def _of_types(target: str | None, source: str | None) -> tuple[float, float]:
    if target is None or source is None:
        return 0.0, 0.0
    if target == source:
        return 1.0, 0.0
    return (0.0, 0.0) if (target, source) in _FITS else (0.0, 1.0)


def _described(source: Name, about: frozenset[str]) -> float:
    """Return the share of the source's name that occurs in the target's description."""
    found = sum(w for word, w in zip(source.words, source.weights, strict=True) if word.text in about)
    return found / sum(source.weights) if found else 0.0


def _rival(best: Sequence[float], own: float) -> float:
    return best[1] if own == best[0] else best[0]


def _around(base: Sequence[Sequence[float]], t: int, s: int) -> float:
    """Return how well the columns next to this pair match each other."""
    found = [
        base[t + step][s + step]
        for step in (-1, 1)
        if 0 <= t + step < len(base) and 0 <= s + step < len(base[0])
    ]
    return sum(found) / 2


@cache
def weights() -> tuple[float, tuple[float, ...]]:
    """Return the bias, and one weight for each of `FEATURES`."""
    found = json.loads(files("lume_local._mapping").joinpath("weights.json").read_text("utf-8"))
    return found["bias"], tuple(found["weights"][name] for name in FEATURES)


def likely(pairs: Sequence[Sequence[Pairing]]) -> list[list[float]]:
    """Return the probability of each pair."""
    bias, by = weights()

    def of(pair: Pairing) -> float:
        if pair.base < _SAYS_SOMETHING:
            return 0.0
        score = bias + sum(map(mul, pair.numbers, by))
        return 1 / (1 + exp(-max(-50.0, min(50.0, score))))

    return [[of(pair) for pair in row] for row in pairs]


class Grade(enum.StrEnum):
    """The certainty of a proposal; below `MEDIUM` a column stays unmapped."""

    CERTAIN = "certain"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def is_used(self) -> bool:
        return self in (Grade.CERTAIN, Grade.HIGH, Grade.MEDIUM)


ORDER = (Grade.CERTAIN, Grade.HIGH, Grade.MEDIUM, Grade.LOW)
_CERTAIN, _HIGH, _MEDIUM = 0.9, 0.6, 0.35
_RIVAL = 0.5
"""Another pair of one of the two columns is a rival above this likelihood."""
_LEFT = 0.3
"""Maximum weight of extra words in one name, such as fillers and the table's name."""
_MORE = 0.7
"""Above this weight of extra words, the source's name probably means something else, so values must agree."""
_CRYPTIC = 0.3
_PASS = ((0.5, Grade.LOW), (0.9, Grade.MEDIUM), (0.98, Grade.HIGH))
"""Grades are limited by the share of values that pass the target's checks."""


def grade(pair: Pairing, likely: float, rival: float) -> Grade:
    """Return the grade of a pair of columns.

    Args:
        rival: the likelihood of the best other pair of one of the two columns.
    """
    if likely < _MEDIUM:
        return Grade.LOW
    name = pair.name
    says_little = name.both < _CRYPTIC or name.source_left > _MORE
    # Names that share a word, but have one of their own each, are namesakes, whatever their values.
    is_namesake = name.pairs and min(name.target_left, name.source_left) > _LEFT
    is_doubtful = name.doubtful or is_namesake or pair.values.clash or (says_little and not pair.values.known)
    if likely < _HIGH or rival > _RIVAL or is_doubtful:
        return Grade.MEDIUM
    # Every word of both names has a match, and no significant word is left over.
    is_whole = name.same or (name.worst >= SYNONYM and not name.digits and name.left <= _LEFT)
    if likely < _CERTAIN or not is_whole:
        return Grade.HIGH
    numbers = dict(zip(FEATURES, pair.numbers, strict=True))
    agrees = (
        name.both >= 0.5,
        numbers["type_fits"] > 0 or numbers["type_clash"] == 0,
        max(pair.values.overlap, pair.values.spread) > 0.5,
        numbers["around"] > 0.3,
        pair.described > 0.5,
    )
    # Kinds of evidence: names, types, values, neighbouring columns, description.
    return Grade.CERTAIN if sum(agrees) >= 2 and not numbers["type_clash"] else Grade.HIGH


def worse(one: Grade, other: Grade) -> Grade:
    return max(one, other, key=ORDER.index)


def at_most(found: Grade, passes: float) -> Grade:
    """Return the grade, limited by the share of values that pass the target's checks."""
    for share, most in _PASS:
        if passes < share:
            return worse(found, most)
    return found
