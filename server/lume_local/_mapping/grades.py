"""The grade of a proposal. Pure.

The thresholds were set on one half of the sources in `server/benchmarks/mapping/`, which reports on the other half.
"""

import enum

from lume_local._mapping.evidence import FEATURES, Pairing
from lume_local._mapping.names import SYNONYM


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
        likely: the likelihood of the pair.
        rival: the likelihood of the best other pair of one of the two columns.
    """
    if likely < _MEDIUM:
        return Grade.LOW
    says_little = pair.name.both < _CRYPTIC or pair.name.source_left > _MORE
    if likely < _HIGH or rival > _RIVAL or pair.values.clash or (says_little and not pair.values.known):
        return Grade.MEDIUM
    if likely >= _CERTAIN and _is_whole(pair) and _kinds(pair) >= 2:
        return Grade.CERTAIN
    return Grade.HIGH


def _is_whole(pair: Pairing) -> bool:
    """Return whether every word of both names has a match, and no significant word is left over."""
    name = pair.name
    if name.same:
        return True
    is_matched = name.worst >= SYNONYM and not name.digits
    return is_matched and name.target_left <= _LEFT and name.source_left <= _LEFT


def _kinds(pair: Pairing) -> int:
    """Count the kinds of evidence that agree: names, types, values, neighbouring columns, description."""
    numbers = dict(zip(FEATURES, pair.numbers, strict=True))
    agrees = (
        pair.name.both >= 0.5,
        numbers["type_fits"] > 0 or numbers["type_clash"] == 0,
        max(numbers["overlap"], numbers["spread"]) > 0.5,
        numbers["around"] > 0.3,
        numbers["about"] > 0.5,
    )
    return 0 if numbers["type_clash"] else sum(agrees)


def worse(one: Grade, other: Grade) -> Grade:
    """Return the less certain grade."""
    return max(one, other, key=ORDER.index)


def at_most(found: Grade, passes: float) -> Grade:
    """Return the grade, limited by the share of values that pass the target's checks."""
    for share, most in _PASS:
        if passes < share:
            return worse(found, most)
    return found
