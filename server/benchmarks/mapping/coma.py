"""valentine's Coma on the cases of `server.benchmarks.mapping`, in its own environment: JSON lines in and out.

Needs `valentine` (1.0.1 here), and NLTK's English stop words. A line in: names, and values where there are any, of
both tables; a line out: the pairs that Coma proposes, each name once.
"""

import json
import sys
import warnings

import pandas as pd
from valentine import valentine_match
from valentine.algorithms import Coma


def frame(side: dict) -> pd.DataFrame:
    rows = side["rows"] or [["" for _ in side["names"]]]
    return pd.DataFrame(rows, columns=side["names"], dtype=str)


def pairs(case: dict) -> list[list]:
    target, source = frame(case["target"]), frame(case["source"])
    if not len(target.columns) or not len(source.columns):
        return []
    found = valentine_match([target, source], Coma(use_instances=case["instances"])).one_to_one_hungarian(
        threshold=0.0
    )
    return [[pair.source_column, pair.target_column, score] for pair, score in found.items()]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        print(json.dumps(pairs(json.loads(line))), flush=True)
