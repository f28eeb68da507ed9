"""Fits the weights of `lume_local/_mapping/weights.json` on one half of the sources of `server.benchmarks.mapping`.

    python -m server.benchmarks.mapping.fit FOLDER R_FOLDER

A logistic regression with a ridge, in which evidence for a match can't count against it, nor the reverse. FOLDER and
R_FOLDER are those of `server.benchmarks.mapping`. Needs numpy and scipy, and takes about two minutes.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from lume_local._mapping import evidence
from server.benchmarks.mapping.cases import cases

_AGAINST = {"source_left", "digits", "type_clash", "known", "clash"}
_RIDGE = 1.0
_KEPT = 5
"""Of the pairs that nothing speaks for, each fifth is used."""


def numbers(folder: Path, r_folder: Path) -> tuple[Any, Any]:
    """The evidence of all pairs of the half for tuning, and which of them are the same column."""
    found, same = [], []
    for case in cases(folder, r_folder):
        if case.half:
            continue
        for t, row in enumerate(evidence.pairings(case.target, case.source)):
            wanted = case.truth[case.target.names[t]]
            for s, pair in enumerate(row):
                is_same = wanted == case.source.names[s]
                says_nothing = pair.base < 0.02 and pair.name.ratio < 0.5 and not pair.values.known
                if is_same or not says_nothing or (31 * t + s) % _KEPT == 0:
                    found.append(pair.numbers)
                    same.append(is_same)
    return np.array(found), np.array(same)


def fitted(found: Any, same: Any) -> tuple[Any, float]:
    """The weights and the bias."""
    mean, scale = found.mean(0), found.std(0) + 1e-9
    scaled, sign = (found - mean) / scale, np.where(same, 1.0, -1.0)

    def loss(weights: Any) -> tuple[float, Any]:
        margin = (scaled @ weights[:-1] + weights[-1]) * sign
        slope = -sign / (1 + np.exp(margin))
        ridge = _RIDGE / 2 * (weights[:-1] ** 2).sum()
        return np.logaddexp(0, -margin).sum() + ridge, np.append(
            scaled.T @ slope + _RIDGE * weights[:-1], slope.sum()
        )

    bounds = [(None, 0) if name in _AGAINST else (0, None) for name in evidence.FEATURES]
    start = np.zeros(found.shape[1] + 1)
    best = minimize(loss, start, jac=True, bounds=[*bounds, (None, None)], method="L-BFGS-B").x
    weights = best[:-1] / scale
    return weights, best[-1] - (weights * mean).sum()


if __name__ == "__main__":
    weights, bias = fitted(*numbers(Path(sys.argv[1]), Path(sys.argv[2])))
    content = {
        "about": "fitted by server.benchmarks.mapping.fit on one half of the sources of server.benchmarks.mapping",
        "bias": round(float(bias), 4),
        "weights": {
            name: round(float(weight), 4) + 0.0
            for name, weight in zip(evidence.FEATURES, weights, strict=True)
        },
    }
    target = Path(evidence.__file__).with_name("weights.json")
    target.write_text(json.dumps(content, indent=2) + "\n")
    print(target.read_text())
