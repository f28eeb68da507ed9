"""The likelihood that a source column is a target column, from the numbers of `evidence`. Pure.

A logistic regression whose weights in `weights.json` were fitted by `server/benchmarks/mapping/fit.py`.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from math import exp
from operator import mul

from attrs import frozen

from lume_local._mapping.evidence import FEATURES, Pairing

_SAYS_SOMETHING = 0.12
"""A pair whose names and values agree less than this is never likely, wherever it stands."""


@frozen
class Weights:
    """One weight for each of `FEATURES`."""

    numbers: tuple[float, ...]
    bias: float


@cache
def weights() -> Weights:
    """Return the fitted weights."""
    found = json.loads(files("lume_local._mapping").joinpath("weights.json").read_text("utf-8"))
    return Weights(tuple(found["weights"][name] for name in FEATURES), found["bias"])


def likely(pairs: Sequence[Sequence[Pairing]], by: Weights | None = None) -> list[list[float]]:
    """Return the probability of each pair."""
    by = by or weights()
    return [[_of(pair, by) for pair in row] for row in pairs]


def _of(pair: Pairing, by: Weights) -> float:
    if pair.base < _SAYS_SOMETHING:
        return 0.0
    score = by.bias + sum(map(mul, pair.numbers, by.numbers))
    return 1 / (1 + exp(-max(-50.0, min(50.0, score))))
