"""Compares a run's figures with its flow's last runs. Pure.

The rule is a robust one: a figure is unusual if it is further from the median than `FAR` times the median absolute
deviation (scaled to the standard deviation of normal data), and further than a floor, since a flow that never varies
has a deviation of 0. Two figures are judged: the share of rejected rows, if it is higher, and the number of rows, by
its logarithm. On normal data the rule is wrong for 1 run in 2,500 after 20 runs, and for 1 in 700 after 15.
"""

import math
from collections.abc import Sequence
from typing import Any

from lume_async._base.words import counted

RUNS = 20
"""The number of earlier runs to compare with."""
LEAST = 15
"""With fewer earlier runs, nothing is unusual."""
FAR = 6.0
_NORMAL = 1.4826
"""The standard deviation of normal data, in median absolute deviations."""
_LEAST_SHARE = 0.02
"""The minimum increase of the share of rejected rows."""
_LEAST_FACTOR = 2.0
"""The minimum factor by which the number of rows must change."""
_SPREADS = 4.0
"""The minimum increase of the share of rejected rows, in standard deviations of a share of so few rows."""
NAME = "warn.unusual"

Figures = tuple[int, int]
"""The number of rows that a run has read, and how many of them it rejected."""


def mends_others(run_metadata: Any) -> bool:
    """Return whether a run processes rejects of others, so that its figures say nothing about its flow's sources."""
    is_resubmitted = isinstance(run_metadata, dict) and isinstance(run_metadata.get("resubmit_of"), str)
    return is_resubmitted or is_replay(run_metadata)


def has_rejects(run_metadata: Any) -> bool:
    """Return whether the rows of a run may be rejects of others: submitted, replayed, or edited in a draft."""
    return is_mend(run_metadata) or mends_others(run_metadata)


def is_replay(run_metadata: Any) -> bool:
    """Return whether a run was begun by a replay of open rejects."""
    return isinstance(run_metadata, dict) and isinstance(run_metadata.get("replay"), dict)


def is_mend(run_metadata: Any) -> bool:
    """Return whether a run was begun with the rows of a draft."""
    return isinstance(run_metadata, dict) and isinstance(run_metadata.get("mend"), dict)


def unusual(run: Figures, before: Sequence[Figures]) -> list[str]:
    """Return the unusual facts about a run, each as a sentence; `before` are the earlier runs, newest first."""
    past, rows, found = before[:RUNS], run[0], list[str]()
    if len(past) < LEAST:
        return []
    if rows:  # otherwise the number of rows shows it
        share, (middle, deviation) = _ratio(run), centre([_ratio(one) for one in past])
        # Never 0 or 1: the first reject of a small file is no sign.
        expected = (middle * rows + 1) / (rows + 2)
        spread = math.sqrt(expected * (1 - expected) / rows)
        if share - middle > max(FAR * deviation, _LEAST_SHARE, _SPREADS * spread):
            found.append(f"{share:.1%} of the rows were rejected, usually {middle:.1%}")
    middle, deviation = centre([math.log1p(read) for read, _ in past])
    if abs(math.log1p(rows) - middle) > max(FAR * deviation, math.log(_LEAST_FACTOR)):
        usual = round(math.expm1(middle))
        found.append(f"{counted(rows, 'row was', 'rows were')} read, usually {usual:,}")
    return [f"{NAME}: {words} (median of the last {counted(len(past), 'run')})" for words in found]


def _ratio(run: Figures) -> float:
    read, rejected = run
    return min(rejected / read, 1.0) if read else 0.0


def centre(values: Sequence[float]) -> tuple[float, float]:
    """Return the median, and the median absolute deviation as the standard deviation of normal data."""
    from statistics import median  # here: it imports fractions and decimals, which a start needs none of

    middle = median(values)
    return middle, _NORMAL * median(abs(value - middle) for value in values)
